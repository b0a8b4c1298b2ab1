"""What does the QR code of a transaction say to a phone without network?

Source: docs/reference/wire.md, "Offline transaction".
"""

from dataclasses import dataclass
from datetime import datetime

from tests.counterparts.phone_package import SHORT_CODE_DIGITS, VERSION, moment, read_text
from tests.counterparts.phone_tlv import Malformed, base45_decode, fields

OFFLINE_PREFIX = "PT1:"
MOST_TITLE_BYTES = 256
MOST_OFFLINE_BYTES = 1500
APPROVE, AUTHENTICATE = 1, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineTransaction:
    """A transaction read from a QR code by a phone without network."""

    application: str
    user: str
    transaction: str
    title: str | None
    media_type: str
    content: bytes
    digits: int
    expires: datetime
    operation: int = APPROVE

    @property
    def kind(self) -> str:
        """`sign` or `authenticate`, as `transactions.get` names it."""
        return "authenticate" if self.operation == AUTHENTICATE else "sign"

    @classmethod
    def from_qr(cls, text: str) -> "OfflineTransaction":
        """From the text PT1:..."""
        if not text.startswith(OFFLINE_PREFIX):
            raise Malformed("this QR code is not an offline transaction")
        return cls.decode(base45_decode(text.removeprefix(OFFLINE_PREFIX)))

    @classmethod
    def decode(cls, data: bytes) -> "OfflineTransaction":
        """Strictly, from the TLV. Tag 89 is there only where the operation is not approve."""
        required = (0x80, 0x81, 0x82, 0x83, 0x85, 0x86, 0x87, 0x88)
        found = fields(data, required=required, optional=(0x84, 0x89))
        if found[0x80] != VERSION or len(found[0x87]) != 1 or len(found[0x88]) != 8:
            raise Malformed("unknown version, or a field has a wrong size")
        if found[0x87][0] not in SHORT_CODE_DIGITS or len(found[0x86]) > MOST_OFFLINE_BYTES:
            raise Malformed("digits or content that cannot be")
        if found.get(0x89, bytes([AUTHENTICATE])) != bytes([AUTHENTICATE]):
            raise Malformed("an operation that has no offline form")
        return cls(
            application=read_text(found[0x81]),
            user=read_text(found[0x82]),
            transaction=read_text(found[0x83]),
            title=read_text(found[0x84], MOST_TITLE_BYTES) if 0x84 in found else None,
            media_type=read_text(found[0x85], MOST_TITLE_BYTES),
            content=found[0x86],
            digits=found[0x87][0],
            expires=moment(found[0x88]),
            operation=AUTHENTICATE if 0x89 in found else APPROVE,
        )
