"""Which addresses are those of a database that can be used, which hold a password, and which lead over an open line?"""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

_DATABASE = re.compile(r"$|sqlite:///.|postgresql(\+psycopg)?://")
_VERIFIED = ("verify-ca", "verify-full")
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


def is_line_open(url: str, environment: Mapping[str, str]) -> bool:
    """Say whether somebody between here and the database could pass for it: on another machine, without a certificate.

    Args:
        url: the address; what it does not say, libpq takes from its own variables.
        environment: where these are.
    """
    parts, said = urlsplit(url), parse_qs(urlsplit(url).query)
    if not parts.scheme.startswith("postgresql"):
        return False
    hosts = [*said.get("host", []), *said.get("hostaddr", []), parts.hostname or ""]
    hosts = [name for each in hosts for name in each.split(",") if name] or [environment.get("PGHOST", "")]
    mode = said.get("sslmode", [environment.get("PGSSLMODE", "prefer")])[-1]
    return mode not in _VERIFIED and not all(_is_here(name) for name in hosts)


def _is_here(host: str) -> bool:
    if host in ("", "localhost") or host.startswith(("/", "@")):  # none and these: a socket of this machine
        return True
    plain, colon, port = host.rpartition(":")
    for each in (host, plain.strip("[]") if colon and port.isdigit() else host):
        try:
            return ip_address(each).is_loopback
        except ValueError:
            continue
    return plain == "localhost"
