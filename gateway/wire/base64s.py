"""Which text stands for which bytes, in exactly one way?

Canonical RFC 4648: base64 with padding, and base64url without; no white space, no stray bits.
"""

import binascii

from gateway.wire.errors import WireError


def encode(data: bytes) -> str:
    """Return base64 with padding (RFC 4648 section 4)."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def decode(text: str, *, what: str = "") -> bytes:
    """Return the bytes of canonical base64. Raises WireError `base64`."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (ValueError, TypeError):
        raise WireError("base64", what) from None
    # Only the last group of four can still differ from how these bytes are written; the rest is not made again.
    last = encode(data[-(len(data) % 3 or 3) :])
    if len(text) != (len(data) + 2) // 3 * 4 or not text.endswith(last):
        raise WireError("base64", what)
    return data


def url_encode(data: bytes) -> str:
    """Return base64url without padding (RFC 4648 section 5)."""
    return encode(data).rstrip("=").replace("+", "-").replace("/", "_")


def url_decode(text: str, *, what: str = "") -> bytes:
    """Return the bytes of canonical unpadded base64url. Raises WireError `base64url`."""
    try:
        padded = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
        data = binascii.a2b_base64(padded, strict_mode=True)
    except (ValueError, TypeError):
        raise WireError("base64url", what) from None
    if url_encode(data) != text:
        raise WireError("base64url", what)
    return data
