"""Which bytes are a receipt, and under which key can anybody check it?

A compact JWS (RFC 7515) with ES256 (RFC 7518). Source: docs/reference/wire.md, "Receipt".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from gateway.wire import base64s, signature
from gateway.wire.code import CODE_BYTES
from gateway.wire.errors import WireError
from gateway.wire.message import Message
from gateway.wire.request import parse_json
from gateway.wire.spki import jwk_members
from gateway.wire.text import check_id, check_text
from gateway.wire.timestep import unix_seconds

TYPE = "pc-receipt+jwt"
_ISSUER_BYTES = 256
_KID_BYTES = 128
_PART_BYTES = 64 * 1024
_SCORE, _SCORE_MOST = ("value", "level"), 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptClaims:
    """What a receipt says. `message` is what was proved; `code` is the full code (bytes) or short (text).

    `signature` is DER and `kpublic` the RFC 7638 thumbprint of the key it verifies under; both are None when
    no Kpublic took part. `verified` lists the checks that were passed, in their order. `scoring` is value (0 to 1000)
    and level where the answer was scored. `under` is rule and channel of content that a phone made by itself.
    """

    issuer: str
    issued_at: datetime
    id: str
    keyset: str
    message: Message
    code: bytes | str
    verified: tuple[str, ...]
    signature: bytes | None = None
    kpublic: str | None = None
    scoring: tuple[int, str] | None = None
    under: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        check_text(self.issuer, what="issuer", most_bytes=_ISSUER_BYTES)
        check_id(self.id, what="id")
        check_id(self.keyset, what="keyset")
        if isinstance(self.code, bytes) and len(self.code) != CODE_BYTES:
            raise WireError("length", "code")
        if (self.signature is None) != (self.kpublic is None):
            raise WireError("missing", "kpublic")
        if self.scoring is not None and not 0 <= self.scoring[0] <= _SCORE_MOST:
            raise WireError("out_of_range", "scoring")

    def as_json(self) -> dict[str, object]:
        """Return the claims under their names in JSON, in their order; those without a value are left out."""
        message = self.message
        rule, channel = self.under or (None, None)
        claims: dict[str, object] = {
            "iss": self.issuer,
            "iat": unix_seconds(self.issued_at),
            "jti": self.id,
            "application": message.application,
            "user": message.user,
            "transaction": message.transaction,
            "operation": message.operation.name.lower(),
            "content_sha256": base64s.encode(message.content_digest),
            "message": base64s.url_encode(message.encode()),
            "step": message.step,
            "code": self.code if isinstance(self.code, str) else base64s.encode(self.code),
            "signature": None if self.signature is None else base64s.encode(self.signature),
            "keyset": self.keyset,
            "kpublic": self.kpublic,
            "verified": list(self.verified),
            "scoring": None if self.scoring is None else dict(zip(_SCORE, self.scoring, strict=True)),
            "rule": rule,
            "channel": channel,
        }
        return {name: value for name, value in claims.items() if value is not None}


_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _part(members: Mapping[str, object]) -> str:
    return base64s.url_encode(_encoder.encode(members).encode("utf-8"))


def signing_input(kid: str, claims: ReceiptClaims) -> bytes:
    """Return header and claims in base64url, joined by a dot: the bytes whose SHA-256 the HSM signs.

    `kid` is the thumbprint of the receipt key. Raises WireError as `check_text`.
    """
    return f"{_header_part(kid)}.{_part(claims.as_json())}".encode("ascii")


@lru_cache(maxsize=16)  # there is one for each version of the receipt key
def _header_part(kid: str) -> str:
    check_text(kid, what="kid", most_bytes=_KID_BYTES)
    return _part(header(kid))


def header(kid: str) -> dict[str, object]:
    """Return the header of a receipt under the key of this thumbprint."""
    return {"alg": "ES256", "typ": TYPE, "kid": kid}


def compact(signing_input: bytes, raw_signature: bytes) -> str:
    """Return the receipt. `raw_signature` is r || s, 64 bytes. Raises WireError."""
    signature.der_from_raw(raw_signature)
    return f"{signing_input.decode('ascii')}.{base64s.url_encode(raw_signature)}"


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """A receipt taken apart: what was signed, the signature (r || s, 64 bytes), and both parts as JSON."""

    signing_input: bytes
    signature: bytes
    header: dict[str, object]
    claims: dict[str, object]


def read(text: str) -> SignedReceipt:
    """Take a compact receipt apart; whether it is signed is for the caller to see. Raises WireError."""
    try:
        head, claims, seal = text.split(".")
    except ValueError:
        raise WireError("length", "receipt") from None
    raw = base64s.url_decode(seal, what="receipt")
    signature.der_from_raw(raw)
    parts = [
        parse_json(base64s.url_decode(part, what="receipt"), most_bytes=_PART_BYTES)
        for part in (head, claims)
    ]
    return SignedReceipt(f"{head}.{claims}".encode("ascii"), raw, *parts)


def jwk(
    point: bytes, kid: str, *, valid_from: datetime | None = None, valid_until: datetime | None = None
) -> dict[str, object]:
    """Return the public key as a JWK, with the validity as `nbf` and `exp` in unix seconds where given.

    `point` has 65 bytes. Raises WireError as `spki.check_point`.
    """
    key: dict[str, object] = {**jwk_members(point), "kid": kid, "use": "sig", "alg": "ES256"}
    if valid_from is not None:
        key["nbf"] = unix_seconds(valid_from)
    if valid_until is not None:
        key["exp"] = unix_seconds(valid_until)
    return key
