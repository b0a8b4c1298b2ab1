"""Which bytes does the phone authenticate and sign, and what do the two AUTHCODEs cover?

Source: docs/reference/wire.md, "The message" and "Requests of the client".
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.counterparts.phone_tlv import element, elements

SHORTEST_CODE, LONGEST_CODE = 6, 10
LONGEST_CODE_OF_31_BITS = 8


class Operation(IntEnum):
    """What the user does with the content."""

    APPROVE = 1
    DECLINE = 2
    AUTHENTICATE = 3
    REGISTER_KEY = 4
    RENEW_KEYS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """Everything that enters the message. `content_digest` is 32 bytes, `fingerprint` 32 bytes or empty."""

    operation: int
    application: str
    user: str
    media_type: str
    content_digest: bytes
    fingerprint: bytes
    step: int
    transaction: str | None = None
    title: str | None = None

    def encode(self) -> bytes:
        """The message: Data, UserID, Fingerprint, T."""
        data = [(0x80, bytes([self.operation]))]
        if self.transaction is not None:
            data.append((0x81, self.transaction.encode()))
        data += [(0x82, self.media_type.encode()), (0x83, self.content_digest)]
        if self.title is not None:
            data.append((0x84, self.title.encode()))
        who = [(0x80, self.application.encode()), (0x81, self.user.encode())]
        return (
            element(0xA0, elements(data))
            + element(0xA1, elements(who))
            + element(0x82, self.fingerprint)
            + element(0x83, self.step.to_bytes(8, "big"))
        )


def mac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256, 32 bytes."""
    return hmac.digest(key, data, "sha256")


def truncate(full_code: bytes, digits: int) -> str:
    """The short code of 6 to 10 decimal digits: RFC 4226 section 5.3 up to 8 digits, 63 bits above."""
    if not SHORTEST_CODE <= digits <= LONGEST_CODE:
        raise ValueError("a short code has 6 to 10 digits")
    offset = full_code[-1] & 0x0F
    if digits <= LONGEST_CODE_OF_31_BITS:
        number = int.from_bytes(full_code[offset : offset + 4], "big") & 0x7FFFFFFF
    else:
        number = int.from_bytes(full_code[offset : offset + 8], "big") & 0x7FFFFFFFFFFFFFFF
    return str(number % 10**digits).zfill(digits)


def sign(private_key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """ECDSA over SHA-256 of the message, strict DER."""
    return private_key.sign(message, ec.ECDSA(hashes.SHA256()))


def answer_proof(kauth: bytes, authcode: bytes, status: int, content_type: bytes, body: bytes) -> bytes:
    """The gateway's own proof over one answer, 32 bytes."""
    head = b"\x00" + authcode + status.to_bytes(2, "big")
    digests = hashlib.sha256(content_type).digest() + hashlib.sha256(body).digest()
    return mac(kauth, head + digests)


def step_at(moment: datetime, step_seconds: int) -> int:
    """T: whole steps since the Unix epoch."""
    return int(moment.timestamp()) // step_seconds


def format_time(moment: datetime) -> str:
    """YYYY-MM-DDTHH:MM:SSZ."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """An aware moment from YYYY-MM-DDTHH:MM:SSZ."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
