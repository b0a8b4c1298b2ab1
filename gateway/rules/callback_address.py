"""Where may a callback go: to the origin the operator registered for the application, and nowhere else."""

import ipaddress
from urllib.parse import SplitResult, urlsplit

from gateway.refusals import Refusal

_PORTS = {"https": 443, "http": 80}


def parse_address(url: str) -> SplitResult:
    """Return the parts of a callback address.

    Raises:
        Refusal: ``not_allowed_by_policy`` unless it is an http(s) URL without user, password and fragment.
    """
    try:
        parts = urlsplit(url)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        port_is_good, parts = False, urlsplit("")
    plain = url.isascii() and url.isprintable() and " " not in url
    clean = parts.scheme in _PORTS and parts.hostname and not parts.username and not parts.fragment
    if not (plain and clean and port_is_good):
        detail = "A callback address is an https URL without credentials and fragment."
        raise Refusal("not_allowed_by_policy", "callback address", detail=detail)
    return parts


def require_allowed(url: str, registered: str | None) -> None:
    """Refuse an address whose scheme, host and port are not those registered for the application."""
    if registered is None or _origin(parse_address(url)) != _origin(parse_address(registered)):
        detail = "Callbacks go to the scheme, host and port registered for the application."
        raise Refusal("not_allowed_by_policy", "callback address of another origin", detail=detail)


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def is_public(address: str) -> bool:
    """Say whether an IP address may be called: not loopback, private, link-local, multicast or reserved."""
    ip = ipaddress.ip_address(address)
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_global and not (mapped or ip).is_multicast
