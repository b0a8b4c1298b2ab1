"""How does a request carry its AUTHCODE, and over which bytes does the gateway prove its answer?

Source: docs/reference/wire.md, "AUTHCODE" and "The proof over the answer".
"""

import hashlib
from collections.abc import Sequence

from gateway.wire import base64s
from gateway.wire.errors import WireError

HEADER = "PC-Authorization"
MAC_BYTES = 32
_CHARACTERS = 44
_MOST_STATUS = 599
_LEAST_STATUS = 100


def parse_header(values: Sequence[str]) -> bytes:
    """Return the 32 bytes of the only value of the header.

    Raises WireError `authcode_count` unless there is exactly one value, `length` or `base64`.
    """
    if len(values) != 1:
        raise WireError("authcode_count")
    if len(values[0]) != _CHARACTERS:
        raise WireError("length", HEADER)
    mac = base64s.decode(values[0], what=HEADER)
    if len(mac) != MAC_BYTES:
        raise WireError("length", HEADER)
    return mac


def format_header(mac: bytes) -> str:
    """Return the value of the header, 44 characters. Raises WireError `length`."""
    if len(mac) != MAC_BYTES:
        raise WireError("length", HEADER)
    return base64s.encode(mac)


def answer_input(authcode: bytes, status: int, content_type: str, body: bytes) -> bytes:
    """Return the 99 bytes that Kauth authenticates for an answer.

    `authcode` is that of the request (32 bytes), `content_type` the value of the answer's header exactly as
    sent, the empty string if it has none. The first byte is 00 and a request begins with `{`: no collision.
    Raises WireError `length`, `out_of_range` (status), `not_text` (content type outside printable ASCII).
    """
    if len(authcode) != MAC_BYTES:
        raise WireError("length", "authcode")
    if not _LEAST_STATUS <= status <= _MOST_STATUS:
        raise WireError("out_of_range", "status")
    if content_type and not (content_type.isascii() and content_type.isprintable()):
        raise WireError("not_text", "content_type")
    digests = hashlib.sha256(content_type.encode("ascii")).digest() + hashlib.sha256(body).digest()
    return b"\x00" + authcode + status.to_bytes(2, "big") + digests
