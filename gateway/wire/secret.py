"""Which secret opens a package, how do people write it, and which key does it give?

Source: docs/reference/wire.md, "The secret of a package".
"""

import hashlib
from collections.abc import Callable

from gateway.wire.errors import WireError
from gateway.wire.text import check_text

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford base32: no I, L, O, U
RANDOM_ITERATIONS = 10_000
CHOSEN_ITERATIONS = 600_000
MOST_ITERATIONS = 10_000_000
SALT_BYTES = 16
KEK_BYTES = 32
CODE_SYMBOLS = 16
PACKAGE_SYMBOLS = 26
SECRET_BYTES = 256
_CODE_RANDOM = 10
_PACKAGE_RANDOM = 16
_GROUP = 4
Pbkdf2 = Callable[[bytes, bytes, int], bytes]  # PBKDF2-HMAC-SHA-256: password, salt, iterations; 32 bytes
_READ_AS = str.maketrans("OIL", "011")
_SEPARATORS = str.maketrans("", "", " -")


def _symbols(data: bytes, count: int) -> str:
    """Five bits a symbol, most significant first; the last symbol is filled up with zero bits."""
    value = int.from_bytes(data, "big") << (5 * count - 8 * len(data))
    return "".join(ALPHABET[value >> (5 * place) & 31] for place in reversed(range(count)))


def new_code(random: bytes) -> str:
    """Return an activation code, 16 symbols, from 10 random bytes. Raises WireError `length`."""
    if len(random) != _CODE_RANDOM:
        raise WireError("length", "random")
    return _symbols(random, CODE_SYMBOLS)


def new_package_secret(random: bytes) -> str:
    """Return the secret of a `qr` package, 26 symbols, from 16 random bytes. Raises WireError `length`."""
    if len(random) != _PACKAGE_RANDOM:
        raise WireError("length", "random")
    return _symbols(random, PACKAGE_SYMBOLS)


def group(code: str) -> str:
    """Return the code in groups of four, for people: XXXX-XXXX-XXXX-XXXX."""
    return "-".join(code[at : at + _GROUP] for at in range(0, len(code), _GROUP))


def normalise(text: str) -> str:
    """Return a typed code as it enters the key derivation.

    Upper case, without spaces and hyphens, O read as 0, I and L as 1. Raises WireError `secret` if another
    character is left or nothing is. Only for codes: a secret that the application shares enters as it is.
    """
    if not text.isascii():
        raise WireError("secret")
    code = text.upper().translate(_SEPARATORS).translate(_READ_AS)
    if not code or any(symbol not in ALPHABET for symbol in code):
        raise WireError("secret")
    return code


def _pbkdf2(password: bytes, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", password, salt, iterations, KEK_BYTES)


def kek(secret: str, salt: bytes, iterations: int, pbkdf2: Pbkdf2 = _pbkdf2) -> bytes:
    """Return the key-encryption key, 32 bytes: PBKDF2-HMAC-SHA-256 over `secret` exactly as given.

    `pbkdf2` may be a faster one. Raises WireError `not_text`, `empty`, `too_long`, `length` (salt),
    `out_of_range` (iterations).
    """
    password = check_text(secret, what="secret", most_bytes=SECRET_BYTES)
    if len(salt) != SALT_BYTES:
        raise WireError("length", "salt")
    if not RANDOM_ITERATIONS <= iterations <= MOST_ITERATIONS:
        raise WireError("out_of_range", "iterations")
    return pbkdf2(password, salt, iterations)
