"""How is a record of tagged values written, and which bytes are such a record?

A strict subset of BER-TLV: one-byte tags of the context class, definite lengths in their shortest form, tag
numbers that ascend. Each record has exactly one encoding. Source: docs/reference/wire.md, "TLV".
"""

from collections.abc import Collection, Iterable
from functools import lru_cache

from gateway.wire.errors import WireError

MOST_BYTES = 0xFFFFFF
_CLASS, _CONTEXT, _NUMBER = 0xC0, 0x80, 0x1F
_SHORT_LENGTHS = 0x80


def _is_tag(tag: int) -> bool:
    """Context class, primitive 80-9E or constructed A0-BE; number 31 would announce a longer tag."""
    return tag & _CLASS == _CONTEXT and tag & _NUMBER != _NUMBER


def _length(size: int) -> bytes:
    if size < _SHORT_LENGTHS:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def _head(tag: int, size: int) -> bytes:
    """Return tag and shortest length. Raises WireError `tlv_tag` or `too_long`."""
    if not _is_tag(tag):
        raise WireError("tlv_tag", f"{tag:02X}")
    if size > MOST_BYTES:
        raise WireError("too_long", f"{tag:02X}")
    return bytes([tag]) + _length(size)


# Nearly all values are short, and such records are made many times for each request.
_SHORT_HEADS = {
    (tag, size): _head(tag, size) for tag in range(0x100) if _is_tag(tag) for size in range(_SHORT_LENGTHS)
}


def encode(tag: int, value: bytes) -> bytes:
    """Return tag, shortest length and value. Raises WireError `tlv_tag` or `too_long`."""
    return _head(tag, len(value)) + value


def sequence(parts: Iterable[tuple[int, bytes]]) -> bytes:
    """Return the parts one after the other. Raises WireError as `encode`, `tlv_order` unless tag numbers ascend."""
    listed = list(parts)
    _require_ascending(tuple([tag for tag, _ in listed]))
    return b"".join(
        [(_SHORT_HEADS.get((tag, len(value))) or _head(tag, len(value))) + value for tag, value in listed]
    )


@lru_cache(maxsize=64)  # of each kind of record: they differ in what is optional
def _require_ascending(tags: tuple[int, ...]) -> None:
    last = -1
    for tag in tags:
        if tag & _NUMBER <= last:
            raise WireError("tlv_order", f"{tag:02X}")
        last = tag & _NUMBER


def _read_length(data: bytes, at: int) -> tuple[int, int]:
    """Return (length, offset of the value) of the length field at `at`."""
    if at >= len(data):
        raise WireError("tlv_truncated")
    first = data[at]
    if first < _SHORT_LENGTHS:
        return first, at + 1
    count = first & 0x7F
    if count not in (1, 2, 3):
        raise WireError("tlv_length")
    octets = data[at + 1 : at + 1 + count]
    if len(octets) < count:
        raise WireError("tlv_truncated")
    size = int.from_bytes(octets, "big")
    if _length(size) != data[at : at + 1 + count]:
        raise WireError("tlv_length")
    return size, at + 1 + count


def _split(data: bytes) -> list[tuple[int, bytes]]:
    parts: list[tuple[int, bytes]] = []
    at, last = 0, -1
    while at < len(data):
        tag = data[at]
        if not _is_tag(tag):
            raise WireError("tlv_tag", f"{tag:02X}")
        if tag & _NUMBER <= last:
            raise WireError("tlv_order", f"{tag:02X}")
        last = tag & _NUMBER
        size, at = _read_length(data, at + 1)
        if at + size > len(data):
            raise WireError("tlv_truncated", f"{tag:02X}")
        parts.append((tag, data[at : at + size]))
        at += size
    return parts


def decode(
    data: bytes,
    *,
    required: Collection[int],
    optional: Collection[int] = (),
    may_be_empty: Collection[int] = (),
) -> dict[int, bytes]:
    """Return {tag: value} of a record that holds all `required` and perhaps some `optional` tags.

    Raises WireError `tlv_tag`, `tlv_length`, `tlv_truncated`, `tlv_order` (also for a repeated tag),
    `tlv_unknown`, `tlv_missing`, or `empty` for a value without bytes whose tag is not in `may_be_empty`.
    """
    parts = _split(data)
    for tag, value in parts:
        if tag not in required and tag not in optional:
            raise WireError("tlv_unknown", f"{tag:02X}")
        if not value and tag not in may_be_empty:
            raise WireError("empty", f"{tag:02X}")
    found = dict(parts)
    for tag in required:
        if tag not in found:
            raise WireError("tlv_missing", f"{tag:02X}")
    return found


def number(value: int, size: int, *, what: str) -> bytes:
    """Return `value` as `size` big-endian bytes. Raises WireError `out_of_range`."""
    if value < 0 or value >> (8 * size):
        raise WireError("out_of_range", what)
    return value.to_bytes(size, "big")


def exactly(value: bytes, size: int, *, what: str) -> bytes:
    """Return `value` if it has `size` bytes. Raises WireError `length`."""
    if len(value) != size:
        raise WireError("length", what)
    return value


def read_number(value: bytes, size: int, *, what: str) -> int:
    """Return the big-endian number in exactly `size` bytes. Raises WireError `length`."""
    return int.from_bytes(exactly(value, size, what=what), "big")
