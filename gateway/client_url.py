"""Which address of the client door can travel in packages, so that a phone talks to it?"""

from urllib.parse import urlsplit

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def require_client_url(value: str) -> str:
    """Return the URL without a slash at its end. Raises ValueError if no phone would use it."""
    parts = urlsplit(value)
    plain = value.isascii() and value.isprintable() and " " not in value
    if (
        parts.scheme not in ("https", "http")
        or not parts.hostname
        or not plain
        or parts.query
        or parts.fragment
    ):
        raise ValueError("must be an https URL in ASCII without query")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("must begin with https: a phone talks plain http to its own machine alone")
    return value.rstrip("/")
