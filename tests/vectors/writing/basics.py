"""Vectors of the small encodings: TLV, base64, base64url, base45, times and steps."""

from collections.abc import Iterator

from gateway.wire import base45, base64s, timestep, tlv
from tests.vectors.writing.case import Case, hexes, refused, valid

DATA, ANY = bytes(range(200)), (0x80, 0x81, 0xA2, 0x83)


RECORDS = (
    ("three parts", [(0x80, b"\x01"), (0x81, b"text"), (0xA2, b"\x80\x01\x02")]),
    ("an empty value where that is allowed", [(0x80, b"\x01"), (0x83, b"")]),
    ("127 bytes, the last short length", [(0x80, DATA[:127])]),
    ("128 bytes, the first of one length byte", [(0x80, DATA[:128])]),
    ("255 bytes", [(0x80, (DATA * 2)[:255])]),
    ("256 bytes, the first of two length bytes", [(0x80, (DATA * 2)[:256])]),
)


NO_RECORDS = (
    ("length cut off", "tlv_truncated", "80"),
    ("value cut off", "tlv_truncated", "80020a"),
    ("long length cut off", "tlv_truncated", "80820100"[:6]),
    ("a byte too many", "tlv_truncated", "80010a81"),
    ("indefinite length", "tlv_length", "8080010000"),
    ("a short length in the long form", "tlv_length", "8081010a"),
    ("a leading zero in the length", "tlv_length", "80820080" + "00" * 128),
    ("four length bytes", "tlv_length", "80840000000100"),
    ("the reserved length FF", "tlv_length", "80ff00"),
    ("a universal tag", "tlv_tag", "30010a"),
    ("an application tag", "tlv_tag", "40010a"),
    ("a private tag", "tlv_tag", "c0010a"),
    ("a tag of two bytes", "tlv_tag", "9f1f010a"),
    ("a constructed tag of two bytes", "tlv_tag", "bf1f010a"),
    ("an unknown tag", "tlv_unknown", "80010a84010b"),
    ("constructed instead of primitive", "tlv_unknown", "a0010a"),
    ("descending tags", "tlv_order", "80010a83010b81010c"),
    ("a repeated tag", "tlv_order", "80010a80010a"),
    ("a repeated number", "tlv_order", "80010aa0010a"),
    ("the required tag is missing", "tlv_missing", "81010a"),
    ("nothing at all", "tlv_missing", ""),
    ("an empty value where that is not allowed", "empty", "8000"),
)


def tlv_cases() -> Iterator[Case]:
    """Records and what is no record."""
    for name, parts in RECORDS:
        found = {f"{tag:02X}": value.hex() for tag, value in parts}
        yield valid("tlv", name, data=tlv.sequence(parts).hex(), **_RULES, parts=found)
    for name, reason, data in NO_RECORDS:
        yield refused("tlv", name, reason, lambda data=data: _read(data), data=data, **_RULES)


_RULES = {"required": hexes(ANY[:1]), "optional": hexes(ANY[1:]), "may_be_empty": ["83"]}


def _read(data: str) -> object:
    return tlv.decode(bytes.fromhex(data), required=ANY[:1], optional=ANY[1:], may_be_empty=(0x83,))


BYTES = (b"", b"f", b"fo", b"foo", b"foob", b"fooba", b"foobar", bytes.fromhex("fbff"), b"\xff" * 3)


BYTES_IN_BASE45 = (b"AB", b"Hello!!", b"base-45", b"ietf!", b"", b"\x00", b"\xff\xff")


NOT_BASE64 = (
    ("no padding", "Zg"),
    ("half the padding", "Zg="),
    ("padding too long", "Zg==="),
    ("stray bits", "Zh=="),
    ("stray bits in the third character", "Zm9="),
    ("white space", "Zm9v "),
    ("a line end", "Zm9v\n"),
    ("the other alphabet", "-_8="),
    ("padding in the middle", "Zg==Zg=="),
    ("not ASCII", "Zm9\N{LATIN SMALL LETTER V WITH HOOK}"),
    ("a lone character", "Z"),
)


NOT_BASE64URL = (
    ("padding", "Zg=="),
    ("stray bits", "Zh"),
    ("the other alphabet", "+/8"),
    ("a lone character", "Z"),
    ("white space", "Zm9v "),
)


NOT_BASE45 = (
    ("a lone symbol", "A"),
    ("a lone last symbol", "BB8A"),
    ("three symbols beyond 65535", "GGW"),
    ("the greatest three symbols", ":::"),
    ("two symbols beyond 255", "::"),
    ("lower case", "bb8"),
    ("a symbol that is not in the alphabet", "BB!"),
    ("a line end", "BB\n"),
)


def text_cases() -> Iterator[Case]:
    """Bytes as text, in three alphabets."""
    for data in BYTES:
        yield valid("base64", f"{data.hex() or 'no'} bytes", data=data.hex(), text=base64s.encode(data))
        yield valid(
            "base64url", f"{data.hex() or 'no'} bytes", data=data.hex(), text=base64s.url_encode(data)
        )
    for data in BYTES_IN_BASE45:
        yield valid("base45", f"{data.hex() or 'no'} bytes", data=data.hex(), text=base45.encode(data))
    for name, text in NOT_BASE64:
        yield refused("base64", name, "base64", lambda text=text: base64s.decode(text), text=text)
    for name, text in NOT_BASE64URL:
        yield refused("base64url", name, "base64url", lambda text=text: base64s.url_decode(text), text=text)
    for name, text in NOT_BASE45:
        yield refused("base45", name, "base45", lambda text=text: base45.decode(text), text=text)


MOMENTS = (0, 951782400, 1795300863, 4102444799, timestep.LATEST)


NOT_TIMES = (
    ("no zone", "2026-11-21T22:41:03"),
    ("an offset", "2026-11-21T22:41:03+00:00"),
    ("small letters", "2026-11-21t22:41:03z"),
    ("a space", "2026-11-21 22:41:03Z"),
    ("parts of a second", "2026-11-21T22:41:03.5Z"),
    ("second 60", "2026-12-31T23:59:60Z"),
    ("hour 24", "2026-11-21T24:00:00Z"),
    ("29 February of a common year", "2026-02-29T00:00:00Z"),
    ("month 13", "2026-13-01T00:00:00Z"),
    ("year 0", "0000-01-01T00:00:00Z"),
    ("a line end", "2026-11-21T22:41:03Z\n"),
    ("other digits", "\N{ARABIC-INDIC DIGIT TWO}026-11-21T22:41:03Z"),
    ("five digits in the year", "12026-11-21T22:41:03Z"),
    ("the basic format", "20261121T224103Z"),
)


STEPS = (
    (0, 180, 1, 1),
    (179, 180, 1, 1),
    (180, 180, 1, 1),
    (1795300863, 180, 1, 1),
    (1795300863, 30, 0, 0),
    (1795300863, 3600, 10, 10),
)


def time_cases() -> Iterator[Case]:
    """Moments as text, and the steps they belong to."""
    for seconds in MOMENTS:
        yield valid(
            "time", str(seconds), unix=seconds, text=timestep.format_time(timestep.moment_at(seconds))
        )
    for name, text in NOT_TIMES:
        yield refused("time", name, "time", lambda text=text: timestep.parse_time(text), text=text)
    for seconds, length, back, ahead in STEPS:
        moment = timestep.moment_at(seconds)
        accepted = timestep.window(moment, length, back, ahead)
        yield valid(
            "step",
            f"{seconds} s in steps of {length} s, {back} back and {ahead} ahead",
            unix=seconds,
            step_seconds=length,
            back=back,
            ahead=ahead,
            step=timestep.step_at(moment, length),
            first=accepted[0],
            last=accepted[-1],
        )
