"""Which bytes do the code and the signature stand for?

Source: docs/reference/wire.md, "The message".
"""

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from gateway.wire import tlv
from gateway.wire.errors import WireError
from gateway.wire.text import MEDIA_TYPE_BYTES, TITLE_BYTES, check_id, check_text, read_id, read_text

__all__ = ["KEY_MEDIA_TYPE", "Message", "Operation", "check_text"]

KEY_MEDIA_TYPE = "application/spki"
DIGEST_BYTES = 32
STEP_BYTES = 8
_LARGEST_STEP = 2**64 - 1
_DATA, _USER_ID, _FINGERPRINT, _STEP = 0xA0, 0xA1, 0x82, 0x83
_OPERATION, _TRANSACTION, _MEDIA_TYPE, _DIGEST, _TITLE = range(0x80, 0x85)
_APPLICATION, _USER = 0x80, 0x81
_ALWAYS = (_OPERATION, _MEDIA_TYPE, _DIGEST)


class Operation(IntEnum):
    """What the user's keys say about the content."""

    APPROVE = 1
    DECLINE = 2
    AUTHENTICATE = 3
    REGISTER_KEY = 4
    RENEW_KEYS = 5


_ABOUT_TRANSACTIONS = (Operation.APPROVE, Operation.DECLINE)
_ABOUT_KEYS = (Operation.REGISTER_KEY, Operation.RENEW_KEYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """All that one proof is about. Raises WireError for values that no message can hold.

    `content_digest` is the SHA-256 of the content (32 bytes); `fingerprint` has 32 bytes, or none for a
    keyset that is not bound to a device; `step` is the number of the time step.
    """

    operation: Operation
    application: str
    user: str
    media_type: str
    content_digest: bytes
    fingerprint: bytes
    step: int
    transaction: str | None = None
    title: str | None = None

    def __post_init__(self) -> None:
        check_id(self.application, what="application")
        check_id(self.user, what="user")
        check_text(self.media_type, what="media_type", most_bytes=MEDIA_TYPE_BYTES)
        tlv.exactly(self.content_digest, DIGEST_BYTES, what="content_digest")
        if self.fingerprint:
            tlv.exactly(self.fingerprint, DIGEST_BYTES, what="fingerprint")
        if not 0 <= self.step <= _LARGEST_STEP:
            raise WireError("out_of_range", "step")
        if self.transaction is not None:
            check_id(self.transaction, what="transaction")
        if self.title is not None:
            check_text(self.title, what="title", most_bytes=TITLE_BYTES)
        self._check_operation()

    def _check_operation(self) -> None:
        """A decision needs its transaction; data that stands alone has neither transaction nor title."""
        if self.operation in _ABOUT_TRANSACTIONS and self.transaction is None:
            raise WireError("tlv_missing", "transaction")
        if self.operation in _ABOUT_KEYS:
            if self.transaction is not None:
                raise WireError("tlv_unknown", "transaction")
            if self.media_type != KEY_MEDIA_TYPE:
                raise WireError("media_type", "media_type")
        if self.title is not None and self.transaction is None:
            raise WireError("tlv_unknown", "title")

    def encode(self) -> bytes:
        """Return the bytes that Khmac authenticates and Kprivate signs."""
        return _encode(self)

    def digest(self) -> bytes:
        """Return SHA-256 of the encoding, 32 bytes: what ECDSA signs."""
        return hashlib.sha256(self.encode()).digest()

    @classmethod
    def decode(cls, data: bytes) -> "Message":
        """Return the one message whose encoding is `data`. Raises WireError."""
        parts = tlv.decode(
            data, required=(_DATA, _USER_ID, _FINGERPRINT, _STEP), may_be_empty=(_FINGERPRINT,)
        )
        about = tlv.decode(parts[_DATA], required=_ALWAYS, optional=(_TRANSACTION, _TITLE))
        user = tlv.decode(parts[_USER_ID], required=(_APPLICATION, _USER))
        return cls(
            operation=_operation(about[_OPERATION]),
            transaction=read_id(about[_TRANSACTION], what="transaction") if _TRANSACTION in about else None,
            media_type=read_text(about[_MEDIA_TYPE], what="media_type", most_bytes=MEDIA_TYPE_BYTES),
            content_digest=about[_DIGEST],
            title=_title(about[_TITLE]) if _TITLE in about else None,
            application=read_id(user[_APPLICATION], what="application"),
            user=read_id(user[_USER], what="user"),
            fingerprint=parts[_FINGERPRINT],
            step=tlv.read_number(parts[_STEP], STEP_BYTES, what="step"),
        )


@lru_cache(maxsize=64)  # one message is encoded for code, signature and receipt
def _encode(message: Message) -> bytes:
    user = [(_APPLICATION, message.application.encode()), (_USER, message.user.encode())]
    return tlv.sequence(
        [
            (_DATA, _data(message)),
            (_USER_ID, tlv.sequence(user)),
            (_FINGERPRINT, message.fingerprint),
            (_STEP, tlv.number(message.step, STEP_BYTES, what="step")),
        ]
    )


def _data(message: Message) -> bytes:
    parts = [(_OPERATION, bytes([message.operation]))]
    if message.transaction is not None:
        parts.append((_TRANSACTION, message.transaction.encode()))
    parts += [(_MEDIA_TYPE, message.media_type.encode()), (_DIGEST, message.content_digest)]
    if message.title is not None:
        parts.append((_TITLE, message.title.encode()))
    return tlv.sequence(parts)


def _operation(value: bytes) -> Operation:
    number = tlv.read_number(value, 1, what="operation")
    try:
        return Operation(number)
    except ValueError:
        raise WireError("out_of_range", "operation") from None


def _title(value: bytes) -> str:
    return read_text(value, what="title", most_bytes=TITLE_BYTES)
