"""Is a package wrapped under the very key that the wire format gives?"""

import pytest

from gateway.scenarios.packaging import pbkdf2
from gateway.wire import secret


# One of them is longer than a block of SHA-256.
@pytest.mark.parametrize("word", ["0123456789ABCDEF", "Größe", "x" * 256])
def test_the_faster_key_derivation_gives_the_same_key(word: str):
    salt = bytes(range(16))
    expected = secret.kek(word, salt, secret.RANDOM_ITERATIONS)
    assert secret.kek(word, salt, secret.RANDOM_ITERATIONS, pbkdf2) == expected
