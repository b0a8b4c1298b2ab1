"""How do bytes travel as the text of a QR code? RFC 9285, strict in both directions."""

from gateway.wire.errors import WireError

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
_VALUES = {symbol: value for value, symbol in enumerate(ALPHABET)}


def _digits(value: int, count: int) -> str:
    symbols = []
    for _ in range(count):
        value, digit = divmod(value, 45)
        symbols.append(ALPHABET[digit])
    return "".join(symbols)


def encode(data: bytes) -> str:
    """Return two bytes as three symbols, a last single byte as two, least significant first."""
    text = [_digits(int.from_bytes(data[at : at + 2], "big"), 3) for at in range(0, len(data) - 1, 2)]
    if len(data) % 2:
        text.append(_digits(data[-1], 2))
    return "".join(text)


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
