"""Vectors of the message and of its proofs: code, short code, signature, public key."""

import hashlib
from collections.abc import Iterator

from gateway.wire import code, signature
from tests.vectors.writing.case import Case, refused, valid

ORDER = signature.ORDER
# RFC 4226 appendix D: HMAC-SHA-1 values of counters 0 to 9 and their six digits.
RFC_4226 = (
    ("cc93cf18508d94934c64b65d8ba7667fb7cde4b0", "755224"),
    ("75a48a19d4cbe100644e8ac1397eea747a2d33ab", "287082"),
    ("0bacb7fa082fef30782211938bc1c5e70416ff44", "359152"),
    ("66c28227d03a2d5529262ff016a1e6ef76557ece", "969429"),
    ("a904c900a64b35909874b33e61c5938a8e15ed1c", "338314"),
    ("a37e783d7b7233c083d4f62926c7a25f238d0316", "254676"),
    ("bc9cd28561042c83f219324d3c607256c03272ae", "287922"),
    ("a4fb960c0bc06e1eabb804e5b397cdc4b45596fa", "162583"),
    ("1b3c89f65e6c9e883012052823443f048b4332db", "399871"),
    ("1637409809a679dc698207310c8c7fc07290d9e5", "520489"),
)


def code_cases() -> Iterator[Case]:
    """Truncation: the published vectors, each offset, and zeros on the left."""
    for counter, (mac, digits) in enumerate(RFC_4226):
        found = code.dynamic_truncate(bytes.fromhex(mac), 6)
        if found != digits:
            raise AssertionError(f"RFC 4226 counter {counter}: {found}")
        yield valid(
            "truncate", f"RFC 4226 appendix D, counter {counter}", mac=mac, digits=6, short_code=digits
        )
    for offset in range(16):
        mac = hashlib.sha256(bytes([offset])).digest()[:31] + bytes([0xF0 | offset])
        for digits in range(6, 11):
            short = code.truncate(mac, digits)
            name = f"offset {offset}, {digits} digits"
            yield valid("truncate", name, mac=mac.hex(), digits=digits, short_code=short)
    for name, mac in (("all zero", bytes(32)), ("all ones", b"\xff" * 32)):
        for digits in range(6, 11):
            short = code.truncate(mac, digits)
            yield valid(
                "truncate", f"{name}, {digits} digits", mac=mac.hex(), digits=digits, short_code=short
            )
    for digits in (0, 5, 11):
        name = f"{digits} digits"
        yield refused(
            "truncate",
            name,
            "digits",
            lambda d=digits: code.truncate(bytes(32), d),
            mac="00" * 32,
            digits=digits,
        )


def _integer(value: int) -> bytes:
    octets = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes([2, len(octets)]) + octets


def _pair(r: bytes, s: bytes) -> bytes:
    return bytes([0x30, len(r + s)]) + r + s


SIGNATURES = (
    ("smallest r and s", 1, 1),
    ("greatest r and s", ORDER - 1, ORDER - 1),
    ("r with a leading zero byte", 1 << 255, 1),
    ("r of 31 bytes", (1 << 247) - 1, ORDER // 2),
    ("high s", ORDER // 3, ORDER - 5),
)


ONE = bytes.fromhex("020101")
GOOD = _pair(_integer(ORDER // 3), _integer(ORDER // 5))
NOT_SIGNATURES = (
    ("nothing", "der", b""),
    ("the last byte missing", "der", GOOD[:-1]),
    ("a byte too many", "der", GOOD + b"\x00"),
    ("a byte too many inside", "der", bytes([0x30, len(GOOD) - 1]) + GOOD[2:] + b"\x00"),
    ("a long length", "der", b"\x30\x81" + GOOD[1:]),
    ("an indefinite length", "der", b"\x30\x80" + GOOD[2:] + b"\x00\x00"),
    ("a set", "der", b"\x31" + GOOD[1:]),
    ("only r", "der", bytes([0x30, 6]) + bytes.fromhex("020400010203")),
    ("three numbers", "der", bytes([0x30, 9]) + ONE * 3),
    ("r padded with a zero byte", "der", _pair(bytes.fromhex("02020001"), ONE)),
    ("s padded with a zero byte", "der", _pair(ONE, bytes.fromhex("02020001"))),
    ("r negative", "der", _pair(bytes.fromhex("0201ff"), ONE)),
    ("s negative", "der", _pair(ONE, bytes.fromhex("020180"))),
    ("r without bytes", "der", _pair(bytes.fromhex("0200"), _integer(ORDER // 5))),
    ("r with a long length", "der", _pair(bytes.fromhex("02810101"), ONE)),
    ("r as an octet string", "der", _pair(bytes.fromhex("040101"), ONE)),
    ("r longer than its sequence", "der", bytes.fromhex("3006027f01020101")),
    ("raw r and s", "der", bytes(range(1, 65))),
    ("r zero", "signature_range", _pair(bytes.fromhex("020100"), ONE)),
    ("s zero", "signature_range", _pair(ONE, bytes.fromhex("020100"))),
    ("r equal to n", "signature_range", _pair(_integer(ORDER), ONE)),
    ("s equal to n", "signature_range", _pair(ONE, _integer(ORDER))),
    ("r of 256 ones", "signature_range", _pair(_integer(2**256 - 1), ONE)),
    ("r of 33 bytes", "signature_range", _pair(_integer(1 << 256), ONE)),
)


def signature_cases() -> Iterator[Case]:
    """DER that is a signature of P-256, and what is not: the oddities that lenient readers let pass."""
    for name, r, s in SIGNATURES:
        der = _pair(_integer(r), _integer(s))
        yield valid("signature", name, der=der.hex(), raw=signature.raw_from_der(der).hex())
    for name, reason, der in NOT_SIGNATURES:
        yield refused("signature", name, reason, lambda der=der: signature.raw_from_der(der), der=der.hex())
