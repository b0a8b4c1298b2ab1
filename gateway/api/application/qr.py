"""How does a package look as a QR code: SVG for pages, PNG for everything else."""

import asyncio
import io

import segno

from gateway.wire import base64s

_SCALE = 4
_BORDER = 4  # modules of white around the code, as ISO/IEC 18004 asks for


async def qr_of(text: str, *, pictures: bool = True) -> dict[str, str | None]:
    """Return the text, with its pictures unless nobody wants them. Drawing takes tens of milliseconds, in a thread."""
    if not pictures:
        return {"text": text, "svg": None, "png": None}
    return await asyncio.to_thread(_drawn, text)


def _drawn(text: str) -> dict[str, str | None]:
    """Draw with error correction level M."""
    code = segno.make_qr(text, error="m", boost_error=False)
    png = io.BytesIO()
    code.save(png, kind="png", scale=_SCALE, border=_BORDER)
    svg = code.svg_inline(scale=_SCALE, border=_BORDER)
    return {"text": text, "svg": svg, "png": base64s.encode(png.getvalue())}
