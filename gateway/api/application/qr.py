"""How does a package look as a QR code: SVG for pages, PNG for everything else."""

import io

import segno

from gateway.wire import base64s

_SCALE = 4
_BORDER = 4  # modules of white around the code, as ISO/IEC 18004 asks for


def qr_view(text: str) -> dict[str, str]:
    """Return the text with its pictures, error correction level M."""
    code = segno.make_qr(text, error="m", boost_error=False)
    png = io.BytesIO()
    code.save(png, kind="png", scale=_SCALE, border=_BORDER)
    svg = code.svg_inline(scale=_SCALE, border=_BORDER)
    return {"text": text, "svg": svg, "png": base64s.encode(png.getvalue())}
