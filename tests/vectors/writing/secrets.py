"""Vectors of activation codes, of how people type them, and of the keys that secrets give."""

from collections.abc import Iterator

from gateway.wire import secret
from tests.vectors.writing import material
from tests.vectors.writing.case import Case, refused, valid
from tests.vectors.writing.packages import CODE, INSIDE, SHARED


def secret_cases() -> Iterator[Case]:
    """Activation codes, how people type them, and the keys that they give."""
    for random in (bytes(10), b"\xff" * 10, bytes(range(0x10, 0x1A))):
        code = secret.new_code(random)
        yield valid("new_code", random.hex(), random=random.hex(), code=code, grouped=secret.group(code))
    for random in (bytes(16), b"\xff" * 16, bytes(range(0x20, 0x30))):
        code = secret.new_package_secret(random)
        yield valid("new_code", random.hex(), random=random.hex(), code=code, grouped=secret.group(code))
    for text in (
        "2081-4g6a-81m7-gz9k",
        " 2081 4G6A 81M7 GZ9K ",
        "oOiIlL",
        "OIL0-11",
        "abcdefghjkmnpqrstvwxyz",
    ):
        yield valid("normalise", text.strip(), text=text, code=secret.normalise(text))
    for name, text in (
        ("U is no symbol", "U081-4G6A"),
        ("an underscore", "2081_4G6A"),
        ("a long s, which is S in capitals", "2081-4G6\N{LATIN SMALL LETTER LONG S}"),
        ("a dotless i, which is I in capitals", "2081-4G6\N{LATIN SMALL LETTER DOTLESS I}"),
        ("nothing", " - "),
        ("a tabulator", "2081\t4G6A"),
    ):
        yield refused("normalise", name, "secret", lambda text=text: secret.normalise(text), text=text)
    for word, iterations in ((CODE, 10_000), (INSIDE, 10_000), (SHARED, 600_000), ("p" * 65, 10_000)):
        key = secret.kek(word, material.SALT, iterations).hex()
        name = f"{len(word)} characters, {iterations} iterations"
        yield valid("kek", name, secret=word, salt=material.SALT.hex(), iterations=iterations, kek=key)
