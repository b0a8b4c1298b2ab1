"""How does the phone read and write TLV, base45 and base64?

The strict subset of BER-TLV in docs/reference/wire.md: one-byte context tags, definite lengths in the
shortest form, tags ascending by number.
"""

import base64
import binascii
from collections.abc import Collection, Iterable

BASE45_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
BASE45_PAIR, BASE45_TRIPLE = 2, 3
LARGEST_SHORT_LENGTH = 0x7F
MOST_LENGTH_BYTES = 3
NUMBER_BITS, LONG_NUMBER = 0x1F, 0x1F
CONTEXT_CLASSES = (0x80, 0xA0)


class Malformed(ValueError):
    """Bytes that the reference does not allow."""


def element(tag: int, value: bytes) -> bytes:
    """One tag, its length in the shortest form, its value."""
    size = len(value)
    if size <= LARGEST_SHORT_LENGTH:
        return bytes([tag, size]) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    if len(length) > MOST_LENGTH_BYTES:
        raise Malformed("the value is too long")
    return bytes([tag, 0x80 | len(length)]) + length + value


def elements(parts: Iterable[tuple[int, bytes]]) -> bytes:
    """Several elements in the order given."""
    return b"".join(element(tag, value) for tag, value in parts)


def parse(data: bytes) -> list[tuple[int, bytes]]:
    """All elements of `data` in order; refuses whatever has a second encoding."""
    found: list[tuple[int, bytes]] = []
    position, last_number = 0, -1
    while position < len(data):
        tag = data[position]
        number = tag & NUMBER_BITS
        if tag & ~NUMBER_BITS not in CONTEXT_CLASSES or number == LONG_NUMBER:
            raise Malformed(f"tag {tag:02X} is not a one-byte context tag")
        if number <= last_number:
            raise Malformed(f"tag {tag:02X} is repeated or out of order")
        start, size = _length(data, position + 1)
        if start + size > len(data):
            raise Malformed("the value is truncated")
        found.append((tag, data[start : start + size]))
        position, last_number = start + size, number
    return found


def _length(data: bytes, position: int) -> tuple[int, int]:
    """(where the value starts, its length)."""
    if position >= len(data):
        raise Malformed("the length is missing")
    first = data[position]
    if first <= LARGEST_SHORT_LENGTH:
        return position + 1, first
    count = first & 0x7F
    raw = data[position + 1 : position + 1 + count]
    if not 1 <= count <= MOST_LENGTH_BYTES or len(raw) != count:
        raise Malformed("the length is indefinite, too long or truncated")
    size = int.from_bytes(raw, "big")
    if raw[0] == 0 or size <= LARGEST_SHORT_LENGTH:
        raise Malformed("the length is not in its shortest form")
    return position + 1 + count, size


def fields(
    data: bytes, *, required: Collection[int], optional: Collection[int] = (), empty: Collection[int] = ()
) -> dict[int, bytes]:
    """The elements by tag; refuses missing and unknown tags, and empty values outside `empty`."""
    found = dict(parse(data))
    if missing := set(required) - set(found):
        raise Malformed(f"tag {min(missing):02X} is missing")
    if unknown := set(found) - set(required) - set(optional):
        raise Malformed(f"tag {min(unknown):02X} is unknown here")
    if any(not value and tag not in empty for tag, value in found.items()):
        raise Malformed("an empty value where none is allowed")
    return found


def base45_encode(data: bytes) -> str:
    """RFC 9285: two bytes as three symbols, a last single byte as two."""
    out: list[str] = []
    for start in range(0, len(data), 2):
        pair = data[start : start + 2]
        number = int.from_bytes(pair, "big")
        for _ in range(len(pair) + 1):
            number, digit = divmod(number, 45)
            out.append(BASE45_ALPHABET[digit])
    return "".join(out)


def base45_decode(text: str) -> bytes:
    """RFC 9285, refusing symbols outside the alphabet, a lone last symbol and values that overflow."""
    out = bytearray()
    for start in range(0, len(text), BASE45_TRIPLE):
        group = text[start : start + BASE45_TRIPLE]
        digits = [BASE45_ALPHABET.find(symbol) for symbol in group]
        if min(digits) < 0 or len(group) < BASE45_PAIR:
            raise Malformed("not base45")
        number = sum(digit * 45**power for power, digit in enumerate(digits))
        try:
            out += number.to_bytes(len(group) - 1, "big")
        except OverflowError:
            raise Malformed("a base45 group is too large") from None
    return bytes(out)


def b64(data: bytes) -> str:
    """Canonical base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def unb64(text: str) -> bytes:
    """Canonical base64 only."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("not base64") from None
    if b64(data) != text:
        raise Malformed("base64 that is not canonical")
    return data
