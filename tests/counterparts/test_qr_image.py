"""A QR code is read from the pictures that a gateway hands out."""

import io
import struct
import zlib
from typing import Any

import pytest
import segno

from tests.counterparts.qr_image import NoQrCode, read_qr

TEXT = "PC1:" + "ABC$%*+-./: 0123" * 20
LOOKS = [
    {},
    {"scale": 4},
    {"scale": 3, "light": "white"},
    {"scale": 5, "dark": "#123456", "light": "#fffffe"},
]


def picture(kind: str, **look: Any):
    out = io.BytesIO()
    segno.make(TEXT, error="m").save(out, kind=kind, **look)
    return out.getvalue()


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("kind", ["png", "svg"])
def test_pictures_of_segno_are_read(kind: str, look: Any):
    assert read_qr(picture(kind, **look)) == TEXT


@pytest.mark.parametrize("filtered", range(5))
@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_pictures_of_every_filter_and_colour_are_read(filtered: int, kind: int, channels: int):
    rows = [
        b"".join((b"\x00" if dark else b"\xff") * channels for dark in row)
        for row in segno.make(TEXT, error="m").matrix_iter(scale=2, border=4)
    ]
    header = struct.pack(">IIBBBBB", len(rows), len(rows), 8, kind, 0, 0, 0)
    raw, above = b"", bytes(len(rows[0]))
    for row in rows:
        raw += bytes([filtered]) + filter_line(filtered, row, above, channels)
        above = row
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    assert read_qr(b"\x89PNG\r\n\x1a\n" + chunks) == TEXT


def chunk(name: bytes, data: bytes):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def filter_line(kind: int, row: bytes, above: bytes, step: int):
    # PNG specification, section 9.2, from the encoder's side.
    out = bytearray()
    for index, value in enumerate(row):
        left = row[index - step] if index >= step else 0
        up = above[index]
        corner = above[index - step] if index >= step else 0
        guess = left + up - corner
        nearest = min(
            [(abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner)]
        )[2]
        out.append((value - (0, left, up, (left + up) // 2, nearest)[kind]) & 0xFF)
    return bytes(out)


def test_a_picture_without_a_code_is_refused():
    blank = struct.pack(">IIBBBBB", 20, 20, 8, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", blank) + chunk(b"IDAT", zlib.compress((b"\x00" + b"\xff" * 20) * 20))
    with pytest.raises(NoQrCode):
        read_qr(b"\x89PNG\r\n\x1a\n" + chunks)
    with pytest.raises(NoQrCode):
        read_qr(b"<svg></svg>")


@pytest.mark.parametrize(("data", "told"), [(b"", "is empty"), (b"%PDF-1.7", "neither a PNG nor an SVG")])
def test_what_is_no_picture_is_not_called_a_picture_without_a_code(data: bytes, told: str):
    with pytest.raises(NoQrCode, match=told):
        read_qr(data)
