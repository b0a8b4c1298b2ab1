"""Which secrets of an application can hold 80 bits?"""

import pytest

from gateway.rules.secret_strength import is_strong

# the least number of characters that is enough, of each alphabet
ENOUGH = {
    "digits": "0123456789012345678901234",
    "hexadecimal": "0123456789abcdef0123",
    "base32": "7QK2M4X9P3TVWZ6R",
    "base32 in small letters": "7qk2m4x9p3tvwz6r",
    "base64url": "kT4mW9xQ2zB7vN",
    "any text": "Gr+/e,3_t:g;=.",
}


@pytest.mark.parametrize("secret", ENOUGH.values(), ids=ENOUGH)
def test_a_secret_is_strong_from_a_number_of_characters_on_that_depends_on_the_alphabet(secret: str):
    assert is_strong(secret)
    assert not is_strong(secret[:-1])


@pytest.mark.parametrize(
    ("grouped", "strong"),
    [
        ("7QK2-M4X9-P3TV-WZ6R", True),
        ("7QK2-M4X9-P3TV-WZ6", False),
        ("0123 4567 8901 2345 6789 0123 4", True),
        ("0123 4567 8901 2345 6789 0123", False),
        ("1234567890123456", False),
        ("----------------------------", False),
        ("", False),
    ],
)
def test_what_groups_a_secret_adds_nothing(grouped: str, strong: bool):  # noqa: FBT001
    assert is_strong(grouped) is strong
