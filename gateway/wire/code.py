"""How does the HMAC value become the code that a machine sends or a person reads out?

Source: docs/reference/wire.md, "Code and short code"; RFC 4226 section 5.3 for 6 to 8 digits.
"""

from gateway.wire import base64s
from gateway.wire.errors import WireError

CODE_BYTES = 32
LEAST_DIGITS = 6
MOST_DIGITS = 10
DEFAULT_DIGITS = 8
_MOST_DIGITS_OF_31_BITS = 8


def dynamic_truncate(mac: bytes, digits: int) -> str:
    """Return `digits` decimal digits of an HMAC value of 20 bytes (as in RFC 4226) or more.

    Nine and ten digits take 63 bits: 31 bits hold only 2^31 values and would leave them lopsided.
    """
    offset = mac[-1] & 0x0F
    size = 4 if digits <= _MOST_DIGITS_OF_31_BITS else 8
    window = int.from_bytes(mac[offset : offset + size], "big") & ((1 << (8 * size - 1)) - 1)
    return f"{window % 10**digits:0{digits}d}"


def truncate(mac: bytes, digits: int) -> str:
    """Return the short code of a 32-byte code: `digits` (6 to 10) digits, left-padded with zeros.

    Raises WireError `length` for another mac, `digits` for another number of digits.
    """
    if len(mac) != CODE_BYTES:
        raise WireError("length", "code")
    if not LEAST_DIGITS <= digits <= MOST_DIGITS:
        raise WireError("digits", "digits")
    return dynamic_truncate(mac, digits)


def parse_code(text: str) -> bytes:
    """Return the 32 bytes of a full code in base64. Raises WireError `base64` or `length`."""
    code = base64s.decode(text, what="code")
    if len(code) != CODE_BYTES:
        raise WireError("length", "code")
    return code


def check_short_code(text: str, digits: int) -> str:
    """Return `text` if it is exactly `digits` ASCII digits. Raises WireError `digits`."""
    if len(text) != digits or not (text.isascii() and text.isdigit()):
        raise WireError("digits", "code")
    return text
