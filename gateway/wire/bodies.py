"""What does each action of the client say in its body?

Each class reads one body: strict members, strict encodings. Source: docs/reference/wire.md, "Actions".
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.wire import base64s, code, rsakey, signature, spki
from gateway.wire.errors import WireError
from gateway.wire.request import MOST_INTEGER, check_members, member_object, member_text
from gateway.wire.text import MEDIA_TYPE_BYTES, check_id, check_text
from gateway.wire.wrapping import OAEP_HASHES, OaepHash

MOST_WAIT_SECONDS = 30
MOST_PIECE_BYTES = 1 << 20
DIGEST_BYTES = 32
PUSH_PROVIDER_BYTES = 32
PUSH_IDENTIFIER_BYTES = 4096
LARGEST_STEP = MOST_INTEGER
_PROOFS = ("step", "code")


def _number(body: Mapping[str, object], name: str, least: int, most: int) -> int:
    value = body[name]
    if type(value) is not int:
        raise WireError("type", name)
    if not least <= value <= most:
        raise WireError("out_of_range", name)
    return value


def _bytes(body: Mapping[str, object], name: str) -> bytes:
    return base64s.decode(member_text(body, name), what=name)


def _digest(body: Mapping[str, object], name: str) -> bytes:
    value = _bytes(body, name)
    if len(value) != DIGEST_BYTES:
        raise WireError("length", name)
    return value


def _id(body: Mapping[str, object], name: str) -> str:
    value = member_text(body, name)
    check_id(value, what=name)
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Proofs:
    """The proofs of one message: `code` 32 bytes, `signature` r || s (64 bytes) and the DER it came in."""

    step: int
    code: bytes
    signature: bytes | None
    signature_der: bytes | None

    @classmethod
    def read(cls, body: Mapping[str, object]) -> "Proofs":
        """Return the proofs in a body whose members were checked. Raises WireError."""
        der = _bytes(body, "signature") if "signature" in body else None
        return cls(
            step=_number(body, "step", 0, LARGEST_STEP),
            code=code.parse_code(member_text(body, "code")),
            signature=None if der is None else signature.raw_from_der(der),
            signature_der=der,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """Where the phone can be woken."""

    provider: str
    identifier: str

    @classmethod
    def read(cls, members: Mapping[str, object]) -> "Push":
        """Return the push address in an object. Raises WireError."""
        check_members(members, required=("provider", "identifier"))
        provider, identifier = member_text(members, "provider"), member_text(members, "identifier")
        check_text(provider, what="provider", most_bytes=PUSH_PROVIDER_BYTES)
        check_text(identifier, what="identifier", most_bytes=PUSH_IDENTIFIER_BYTES)
        return cls(provider=provider, identifier=identifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """`keys.register`: `kpublic` is the SPKI, `point` its 65 bytes; `fingerprint` has 32 bytes or none."""

    kpublic: bytes
    point: bytes
    fingerprint: bytes
    package: bytes
    push: Push | None
    proofs: Proofs

    @classmethod
    def read(cls, body: Mapping[str, object]) -> "Register":
        """Return the body. Raises WireError."""
        required = ("kpublic", "fingerprint", "package", *_PROOFS, "signature")
        check_members(body, required=required, optional=("push",))
        kpublic = _bytes(body, "kpublic")
        return cls(
            kpublic=kpublic,
            point=spki.point_from_spki(kpublic),
            fingerprint=_digest(body, "fingerprint") if body["fingerprint"] != "" else b"",
            package=_digest(body, "package"),
            push=Push.read(member_object(body, "push")) if "push" in body else None,
            proofs=Proofs.read(body),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    """`keys.renew`: `wrap_key` is the SPKI of a fresh RSA key, `oaep` the hashes that the phone accepts."""

    wrap_key: bytes
    oaep: tuple[OaepHash, ...]
    proofs: Proofs

    @classmethod
    def read(cls, body: Mapping[str, object]) -> "Renew":
        """Return the body. Raises WireError."""
        check_members(body, required=("wrap_key", "oaep", *_PROOFS), optional=("signature",))
        wrap_key = _bytes(body, "wrap_key")
        rsakey.rsa_from_spki(wrap_key, least_bits=rsakey.LEAST_BITS_TO_RENEW)
        return cls(wrap_key=wrap_key, oaep=_hashes(body["oaep"]), proofs=Proofs.read(body))


def _hashes(value: object) -> tuple[OaepHash, ...]:
    if not isinstance(value, list) or not value or any(not isinstance(name, str) for name in value):
        raise WireError("type", "oaep")
    if len(set(value)) != len(value) or any(name not in OAEP_HASHES for name in value):
        raise WireError("out_of_range", "oaep")
    return tuple(OAEP_HASHES[name] for name in value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """`transactions.pending`: how long to wait, in seconds."""

    wait: int

    @classmethod
    def read(cls, body: Mapping[str, object]) -> "Pending":
        """Return the body. Raises WireError."""
        check_members(body, required=(), optional=("wait",))
        return cls(wait=_number(body, "wait", 0, MOST_WAIT_SECONDS) if "wait" in body else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Get:
    """`transactions.get`: which transaction."""

    transaction: str

    @classmethod
    def read(cls, body: Mapping[str, object]) -> "Get":
        """Return the body. Raises WireError."""
        check_members(body, required=("transaction",))
        return cls(transaction=_id(body, "transaction"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """`transactions.content`: which bytes of the content, at most 1 MiB at once."""

    transaction: str
    offset: int
    length: int

    @classmethod
    def read(cls, body: Mapping[str, object]) -> "Content":
        """Return the body. Raises WireError."""
        check_members(body, required=("transaction", "offset", "length"))
        return cls(
            transaction=_id(body, "transaction"),
            offset=_number(body, "offset", 0, MOST_INTEGER),
            length=_number(body, "length", 1, MOST_PIECE_BYTES),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """`transactions.approve` and `transactions.decline`."""

    transaction: str
    proofs: Proofs

    @classmethod
    def read(cls, body: Mapping[str, object]) -> "Decision":
        """Return the body. Raises WireError."""
        check_members(body, required=("transaction", *_PROOFS), optional=("signature",))
        return cls(transaction=_id(body, "transaction"), proofs=Proofs.read(body))


@dataclass(frozen=True, slots=True, kw_only=True)
class Authentication:
    """`authentications.create`: content that the phone made by a rule of the application."""

    media_type: str
    content: bytes
    proofs: Proofs

    @classmethod
    def read(cls, body: Mapping[str, object]) -> "Authentication":
        """Return the body. Raises WireError."""
        check_members(body, required=("media_type", "content", *_PROOFS), optional=("signature",))
        media_type, content = member_text(body, "media_type"), _bytes(body, "content")
        check_text(media_type, what="media_type", most_bytes=MEDIA_TYPE_BYTES)
        if not content:
            raise WireError("empty", "content")
        return cls(media_type=media_type, content=content, proofs=Proofs.read(body))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUpdate:
    """`devices.update`: the new push address, or None to be woken no more."""

    push: Push | None

    @classmethod
    def read(cls, body: Mapping[str, object]) -> "DeviceUpdate":
        """Return the body. Raises WireError."""
        check_members(body, required=("push",))
        return cls(push=None if body["push"] is None else Push.read(member_object(body, "push")))
