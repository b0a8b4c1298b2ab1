"""Which text does a picture of a QR code hold?

Pictures are PNG (not interlaced) or the one-path SVG that segno draws; zxing-cpp reads the QR code itself.
"""

import re
import struct
import zlib

import zxingcpp

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, COLOUR: 3, PALETTE: 1, GREY_ALPHA: 2, COLOUR_ALPHA: 4}
SVG_SCALE = 4
QUIET_ZONE = 5
Rows = list[bytes]  # one byte a pixel, 0 black to 255 white


class NoQrCode(ValueError):
    """The picture cannot be read or holds not exactly one QR code."""


def is_image(data: bytes) -> bool:
    """Whether the bytes are a PNG or an SVG."""
    return data.startswith(PNG_SIGNATURE) or b"<svg" in data[:1000]


def read_qr(image: bytes) -> str:
    """The text of the one QR code in the picture."""
    if not is_image(image):
        raise NoQrCode(
            "the file is neither a PNG nor an SVG" if image else "the file of the picture is empty"
        )
    rows = _png_rows(image) if image.startswith(PNG_SIGNATURE) else _svg_rows(image.decode())
    picture = memoryview(b"".join(rows)).cast("B", shape=[len(rows), len(rows[0])])
    found = zxingcpp.read_barcodes(picture, formats=zxingcpp.BarcodeFormats([zxingcpp.BarcodeFormat.QRCode]))
    if len(found) != 1:
        raise NoQrCode(f"the picture holds {len(found)} QR codes")
    return found[0].text


def _svg_rows(text: str) -> Rows:
    """segno draws each run of dark modules as `h<length>` at half a module's height."""
    path = max(re.findall(r'<path[^>]*\sd="([^"]+)"', text), key=len, default="")
    dark: set[tuple[int, int]] = set()
    x = y = 0.0
    for command, arguments in re.findall(r"([Mmh])([^Mmh]*)", path):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", arguments)]
        if command == "h":
            dark.update((int(x) + step, int(y)) for step in range(int(numbers[0])))
            x += numbers[0]
        elif command == "m":
            x, y = x + numbers[0], y + numbers[1]
        else:
            x, y = numbers[0], numbers[1]
    if not dark:
        raise NoQrCode("the SVG holds no QR code")
    modules = range(-QUIET_ZONE, max(max(pair) for pair in dark) + QUIET_ZONE)
    rows: Rows = []
    for row in modules:
        line = b"".join((b"\x00" if (column, row) in dark else b"\xff") * SVG_SCALE for column in modules)
        rows += [line] * SVG_SCALE
    return rows


def _png_rows(data: bytes) -> Rows:
    chunks = _chunks(data)
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    if interlaced or kind not in CHANNELS or depth > 8 or (depth < 8 and kind not in (GREY, PALETTE)):
        raise NoQrCode("a PNG of an unexpected kind")
    bits = depth * CHANNELS[kind]
    raw = zlib.decompress(chunks[b"IDAT"])
    line_bytes, pixel_bytes = (width * bits + 7) // 8, max(1, bits // 8)
    above = bytes(line_bytes)
    rows: Rows = []
    for row in range(height):
        start = row * (line_bytes + 1)
        above = _unfilter(raw[start], raw[start + 1 : start + 1 + line_bytes], above, pixel_bytes)
        rows.append(_greys(above, width, depth, kind, chunks.get(b"PLTE", b"")))
    return rows


def _chunks(data: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    position = len(PNG_SIGNATURE)
    while position + 8 <= len(data):
        size, name = struct.unpack(">I4s", data[position : position + 8])
        found[name] = found.get(name, b"") + data[position + 8 : position + 8 + size]
        position += size + 12
    return found


def _unfilter(kind: int, line: bytes, above: bytes, step: int) -> bytes:
    out = bytearray(line)
    for index, value in enumerate(line):
        left = out[index - step] if index >= step else 0
        corner = above[index - step] if index >= step else 0
        added = (0, left, above[index], (left + above[index]) // 2, _paeth(left, above[index], corner))[kind]
        out[index] = (value + added) & 0xFF
    return bytes(out)


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))


def _greys(line: bytes, width: int, depth: int, kind: int, palette: bytes) -> bytes:
    if kind in (COLOUR, COLOUR_ALPHA, GREY_ALPHA):
        # The second channel is green in colour; of grey with alpha the first is the grey.
        step = CHANNELS[kind]
        return line[(0 if kind == GREY_ALPHA else 1) :: step][:width]
    most = (1 << depth) - 1
    per_byte = 8 // depth
    shifts = range(8 - depth, -1, -depth)
    values = [(byte >> shift) & most for byte in line for shift in shifts][: width or per_byte]
    if kind == PALETTE:
        return bytes(palette[value * 3 + 1] for value in values)
    return bytes(value * 255 // most for value in values)
