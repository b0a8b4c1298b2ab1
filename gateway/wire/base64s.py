"""Which text stands for which bytes, in exactly one way?

Canonical RFC 4648: base64 with padding, and base64url without; no white space, no stray bits.
"""

import base64
import binascii

from gateway.wire.errors import WireError


def encode(data: bytes) -> str:
    """Return base64 with padding (RFC 4648 section 4)."""
    return base64.b64encode(data).decode("ascii")


def decode(text: str, *, what: str = "") -> bytes:
    """Return the bytes of canonical base64. Raises WireError `base64`."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise WireError("base64", what) from None
    if encode(data) != text:
        raise WireError("base64", what)
    return data


def url_encode(data: bytes) -> str:
    """Return base64url without padding (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def url_decode(text: str, *, what: str = "") -> bytes:
    """Return the bytes of canonical unpadded base64url. Raises WireError `base64url`."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise WireError("base64url", what) from None
    if url_encode(data) != text:
        raise WireError("base64url", what)
    return data
