"""Which addresses are those of a database that can be used, and which hold a password?"""

import re
from urllib.parse import parse_qs, urlsplit

_DATABASE = re.compile(r"$|sqlite:///.|postgresql(\+psycopg)?://")
_PASSWORDS = {"password", "sslpassword"}  # what libpq takes as parameters


def is_database(url: str) -> bool:
    """Say whether it is an address of a kind that is known; the empty one stands for the embedded database."""
    try:
        _ = urlsplit(url).port
    except ValueError:
        return False
    return _DATABASE.match(url) is not None


def holds_password(url: str) -> bool:
    """Say whether there is a password in an address that could be read."""
    parts = urlsplit(url)
    return bool(parts.password) or not _PASSWORDS.isdisjoint(parse_qs(parts.query, keep_blank_values=True))
