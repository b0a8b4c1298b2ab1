"""How does a transaction reach a phone without a network?

Source: docs/reference/wire.md, "Offline transaction".
"""

from dataclasses import dataclass
from datetime import datetime

from gateway.wire import base45, tlv
from gateway.wire.code import LEAST_DIGITS, MOST_DIGITS
from gateway.wire.errors import WireError
from gateway.wire.message import Operation
from gateway.wire.text import MEDIA_TYPE_BYTES, TITLE_BYTES, check_id, check_text, read_id, read_text
from gateway.wire.timestep import moment_at, unix_seconds

PREFIX = "PT1:"
CONTENT_BYTES = 1500
_VERSION = b"\x01"
_TAGS = (0x80, 0x81, 0x82, 0x83, 0x85, 0x86, 0x87, 0x88)
_TITLE, _OPERATION = 0x84, 0x89
_OPERATIONS = (Operation.APPROVE, Operation.AUTHENTICATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineTransaction:
    """A whole transaction in one QR code. Raises WireError for values that it cannot hold.

    `content` has 1 to 1500 bytes; `operation` is what the code will stand for, approve or authenticate.
    """

    application: str
    user: str
    transaction: str
    media_type: str
    content: bytes
    digits: int
    expires_at: datetime
    title: str | None = None
    operation: Operation = Operation.APPROVE

    def __post_init__(self) -> None:
        for what in ("application", "user", "transaction"):
            check_id(getattr(self, what), what=what)
        if self.title is not None:
            check_text(self.title, what="title", most_bytes=TITLE_BYTES)
        check_text(self.media_type, what="media_type", most_bytes=MEDIA_TYPE_BYTES)
        if not self.content:
            raise WireError("empty", "content")
        if len(self.content) > CONTENT_BYTES:
            raise WireError("too_long", "content")
        if not LEAST_DIGITS <= self.digits <= MOST_DIGITS:
            raise WireError("digits", "digits")
        if moment_at(unix_seconds(self.expires_at)) != self.expires_at:
            raise WireError("time", "expires_at")
        if self.operation not in _OPERATIONS:
            raise WireError("out_of_range", "operation")

    def encode(self) -> bytes:
        """Return the TLV; tag 89 is there only when the operation is not approve."""
        values = (
            _VERSION,
            check_id(self.application, what="application"),
            check_id(self.user, what="user"),
            check_id(self.transaction, what="transaction"),
            check_text(self.media_type, what="media_type", most_bytes=MEDIA_TYPE_BYTES),
            self.content,
            bytes([self.digits]),
            tlv.number(unix_seconds(self.expires_at), 8, what="expires_at"),
        )
        parts = list(zip(_TAGS, values, strict=True))
        if self.title is not None:
            parts.append((_TITLE, check_text(self.title, what="title", most_bytes=TITLE_BYTES)))
        if self.operation is not Operation.APPROVE:
            parts.append((_OPERATION, bytes([self.operation])))
        return tlv.sequence(sorted(parts))

    def to_qr(self) -> str:
        """Return the text of the QR code, all of it in the alphanumeric set."""
        return PREFIX + base45.encode(self.encode())

    @classmethod
    def decode(cls, data: bytes) -> "OfflineTransaction":
        """Return the one transaction whose encoding is `data`. Raises WireError."""
        found = tlv.decode(data, required=_TAGS, optional=(_TITLE, _OPERATION))
        version, application, user, transaction, media_type, content, digits, expiry = (
            found[tag] for tag in _TAGS
        )
        if version != _VERSION:
            raise WireError("version", "version")
        title = found.get(_TITLE)
        return cls(
            application=read_id(application, what="application"),
            user=read_id(user, what="user"),
            transaction=read_id(transaction, what="transaction"),
            media_type=read_text(media_type, what="media_type", most_bytes=MEDIA_TYPE_BYTES),
            content=content,
            digits=tlv.read_number(digits, 1, what="digits"),
            expires_at=moment_at(tlv.read_number(expiry, 8, what="expires_at")),
            title=None if title is None else read_text(title, what="title", most_bytes=TITLE_BYTES),
            operation=_read_operation(found.get(_OPERATION)),
        )

    @classmethod
    def from_qr(cls, text: str) -> "OfflineTransaction":
        """Return the transaction in the text of a QR code. Raises WireError."""
        if not text.startswith(PREFIX):
            raise WireError("prefix")
        return cls.decode(base45.decode(text.removeprefix(PREFIX)))


def _read_operation(value: bytes | None) -> Operation:
    """Absent means approve; the only value that is written is authenticate."""
    if value is None:
        return Operation.APPROVE
    if value != bytes([Operation.AUTHENTICATE]):
        raise WireError("out_of_range", "operation")
    return Operation.AUTHENTICATE
