"""How do bytes travel as the text of a QR code? RFC 9285, strict in both directions."""

from gateway.wire.errors import WireError

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
_PAIRS = [low + high for high in ALPHABET for low in ALPHABET]  # of what is left of a value below 45 * 45
_VALUES = {symbol: value for value, symbol in enumerate(ALPHABET)}


def encode(data: bytes) -> str:
    """Return two bytes as three symbols, a last single byte as two, least significant first."""
    values = [high << 8 | low for high, low in zip(data[::2], data[1::2], strict=False)]
    text = "".join([_PAIRS[value % len(_PAIRS)] + ALPHABET[value // len(_PAIRS)] for value in values])
    return text + _PAIRS[data[-1]] if len(data) % 2 else text


def _group(symbols: str) -> bytes:
    value = 0
    for symbol in reversed(symbols):
        value = value * 45 + _VALUES[symbol]
    try:
        return value.to_bytes(len(symbols) - 1, "big")
    except OverflowError:
        raise WireError("base45") from None


def decode(text: str) -> bytes:
    """Return the bytes. Raises WireError `base45`: other symbols, a lone last one, a group out of range."""
    if len(text) % 3 == 1 or any(symbol not in _VALUES for symbol in text):
        raise WireError("base45")
    return b"".join(_group(text[at : at + 3]) for at in range(0, len(text), 3))
