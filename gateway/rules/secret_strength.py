"""How many bits of chance can a secret hold that an application shares with its app: told by its characters alone.

Whether it really came from a random source only the application knows; a secret that cannot hold enough is refused.
"""

from collections.abc import Callable

BITS_LEAST = 80
_SEPARATORS = str.maketrans("", "", " -")
# In hundredths of a bit, so that sums are exact: digits, hexadecimal, base32 (one case and digits), anything else.
_DIGIT, _HEX, _BASE32, _OTHER = 330, 400, 500, 600
_ALPHABETS: tuple[tuple[int, Callable[[str], bool]], ...] = (
    (_DIGIT, lambda text: set(text) <= set("0123456789")),
    (_HEX, lambda text: set(text) <= set("0123456789abcdefABCDEF")),
    (_BASE32, lambda text: text.isascii() and text.isalnum() and text in (text.upper(), text.lower())),
)


def is_strong(secret: str) -> bool:
    """Say whether the secret can hold 80 bits; spaces and hyphens that group it hold none."""
    plain = secret.translate(_SEPARATORS)
    each = next((bits for bits, fits in _ALPHABETS if fits(plain)), _OTHER)
    return len(plain) * each >= BITS_LEAST * 100
