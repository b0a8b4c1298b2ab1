"""Vectors of transactions for a phone without a network."""

from collections.abc import Iterator
from dataclasses import replace

from gateway.wire import tlv
from gateway.wire.message import Operation
from gateway.wire.offline import OfflineTransaction
from gateway.wire.timestep import unix_seconds
from tests.vectors.writing import material
from tests.vectors.writing.case import Case, refused, valid
from tests.vectors.writing.packages import refused_texts

PAYMENT = OfflineTransaction(
    application=material.APPLICATION,
    user=material.USER,
    transaction=material.TRANSACTION,
    title="Payment",
    media_type=material.PLAIN,
    content=material.TEXT,
    digits=8,
    expires_at=material.UNTIL,
)
TRANSACTIONS = (
    ("a payment", PAYMENT),
    ("without a title", replace(PAYMENT, title=None)),
    ("to authenticate", replace(PAYMENT, operation=Operation.AUTHENTICATE)),
    ("1500 bytes", replace(PAYMENT, content=b"x" * 1500, digits=6)),
)


GOOD = PAYMENT.encode()
EXPIRY = tlv.encode(0x88, bytes(8))
SHORT = GOOD[: -len(EXPIRY)]
NOT_TRANSACTIONS = (
    ("version 2", "version", b"\x80\x01\x02" + GOOD[3:]),
    ("11 digits", "digits", GOOD.replace(bytes.fromhex("870108"), bytes.fromhex("87010b"))),
    ("5 digits", "digits", GOOD.replace(bytes.fromhex("870108"), bytes.fromhex("870105"))),
    ("no expiry", "tlv_missing", SHORT),
    ("expiry of 4 bytes", "length", SHORT + bytes.fromhex("880400000001")),
    ("operation approve, which is never written", "out_of_range", GOOD + bytes.fromhex("890101")),
    ("operation decline", "out_of_range", GOOD + bytes.fromhex("890102")),
    ("an unknown tag", "tlv_unknown", GOOD + bytes.fromhex("8a0101")),
    (
        "1501 bytes",
        "too_long",
        GOOD.replace(tlv.encode(0x86, material.TEXT), tlv.encode(0x86, b"x" * 1501)),
    ),
    ("no content", "empty", GOOD.replace(tlv.encode(0x86, material.TEXT), bytes.fromhex("8600"))),
)


def offline_cases() -> Iterator[Case]:
    """Transactions for a phone without a network."""
    for name, offline in TRANSACTIONS:
        yield valid(
            "offline",
            name,
            application=offline.application,
            user=offline.user,
            transaction=offline.transaction,
            title=offline.title,
            media_type=offline.media_type,
            content=offline.content.hex(),
            digits=offline.digits,
            expires=unix_seconds(offline.expires_at),
            operation=int(offline.operation),
            offline=offline.encode().hex(),
            qr=offline.to_qr(),
        )
    for name, reason, data in NOT_TRANSACTIONS:
        yield refused(
            "offline", name, reason, lambda data=data: OfflineTransaction.decode(data), offline=data.hex()
        )
    yield from refused_texts("offline", OfflineTransaction.from_qr, PAYMENT.to_qr())
