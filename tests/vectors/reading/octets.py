"""How are records, texts and times read? Everything that is not exactly right is refused with a reason."""

import re
from calendar import timegm
from collections.abc import Collection
from datetime import UTC, datetime

STANDARD = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
FOR_URLS = STANDARD[:62] + "-_"
QR = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"


class Refused(Exception):
    """The input is outside the format; `reason` is the code of the reference."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def need(condition: object, reason: str) -> None:
    """Refuse unless the condition holds."""
    if not condition:
        raise Refused(reason)


def read_tlv(
    data: bytes, required: Collection[int], optional: Collection[int] = (), empty: Collection[int] = ()
) -> dict[int, bytes]:
    """{tag: value}: first the whole structure, then which tags are there."""
    found: dict[int, bytes] = {}
    rest, number = data, -1
    while rest:
        tag = rest[0]
        need(0x80 <= tag <= 0xBF and tag not in (0x9F, 0xBF), "tlv_tag")
        need(tag % 32 > number, "tlv_order")
        number = tag % 32
        value, rest = _read_value(rest[1:])
        found[tag] = value
    for tag, value in found.items():
        need(tag in required or tag in optional, "tlv_unknown")
        need(value or tag in empty, "empty")
    need(all(tag in found for tag in required), "tlv_missing")
    return found


def _read_value(rest: bytes) -> tuple[bytes, bytes]:
    need(rest, "tlv_truncated")
    count, size = 0, rest[0]
    if size >= 128:
        count = size - 128
        need(1 <= count <= 3, "tlv_length")
        need(len(rest) > count, "tlv_truncated")
        size = int.from_bytes(rest[1 : 1 + count], "big")
        need(size >= (128, 256, 65536)[count - 1], "tlv_length")
    need(len(rest) >= 1 + count + size, "tlv_truncated")
    return rest[1 + count : 1 + count + size], rest[1 + count + size :]


def tlv(tag: int, value: bytes) -> bytes:
    """One element."""
    size = len(value)
    if size < 128:
        return bytes([tag, size]) + value
    count = 1 if size < 256 else 2
    return bytes([tag, 128 + count]) + size.to_bytes(count, "big") + value


def number(data: bytes, size: int) -> int:
    """A big-endian number of exactly so many bytes."""
    need(len(data) == size, "length")
    return int.from_bytes(data, "big")


def text(data: bytes, most: int = 64) -> str:
    """UTF-8 of one to so many bytes, without U+0000."""
    try:
        found = data.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise Refused("not_text") from None
    need("\0" not in found, "not_text")
    need(data, "empty")
    need(len(data) <= most, "too_long")
    return found


def base64(written: str, *, alphabet: str = STANDARD) -> bytes:
    """Canonical base64 with padding, or base64url without."""
    reason = "base64" if alphabet == STANDARD else "base64url"
    bare = written
    if alphabet == STANDARD:
        need(len(written) % 4 == 0, reason)
        bare = written[:-2] + written[-2:].rstrip("=") if written else ""
    need(len(bare) % 4 != 1 and all(symbol in alphabet for symbol in bare), reason)
    bits = "".join(f"{alphabet.index(symbol):06b}" for symbol in bare)
    whole = len(bits) // 8 * 8
    need(set(bits[whole:]) <= {"0"}, reason)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, whole, 8))


def to_base64(data: bytes, *, alphabet: str = STANDARD) -> str:
    """The one way to write these bytes."""
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 6)
    written = "".join(alphabet[int(bits[at : at + 6], 2)] for at in range(0, len(bits), 6))
    return written + ("=" * (-len(written) % 4) if alphabet == STANDARD else "")


def base45(written: str) -> bytes:
    """RFC 9285."""
    need(len(written) % 3 != 1 and all(symbol in QR for symbol in written), "base45")
    found = b""
    for at in range(0, len(written), 3):
        digits = [QR.index(symbol) for symbol in written[at : at + 3]]
        value = sum(digit * 45**place for place, digit in enumerate(digits))
        need(value < 256 ** (len(digits) - 1), "base45")
        found += value.to_bytes(len(digits) - 1, "big")
    return found


def to_base45(data: bytes) -> str:
    """RFC 9285."""
    written = ""
    for at in range(0, len(data), 2):
        value, size = int.from_bytes(data[at : at + 2], "big"), len(data[at : at + 2])
        written += "".join(QR[value // 45**place % 45] for place in range(size + 1))
    return written


def moment(written: str) -> int:
    """Unix seconds of YYYY-MM-DDTHH:MM:SSZ."""
    need(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", written, re.ASCII), "time")
    try:
        parsed = datetime.strptime(written, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refused("time") from None
    need(int(written[17:19]) < 60, "time")
    return timegm(parsed.timetuple())
