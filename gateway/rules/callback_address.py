"""Where may a callback go: to the origin the operator registered for the application, and nowhere else."""

import ipaddress
from urllib.parse import SplitResult, urlsplit

from gateway.refusals import Refusal

_PORTS = {"https": 443, "http": 80}
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # the only block of IPv6 that is given out to the public
# RFC 6052: the last four bytes are the IPv4 address that is called.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def parse_address(url: str) -> SplitResult:
    """Return the parts of a callback address.

    Raises:
        Refusal: ``not_allowed_by_policy`` unless it is an https URL without user, password and fragment; http is for
            the machine itself, because a callback tells who confirmed what.
    """
    try:
        parts = urlsplit(url)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        port_is_good, parts = False, urlsplit("")
    plain = url.isascii() and url.isprintable() and " " not in url
    clean = parts.scheme in _PORTS and parts.hostname and "@" not in parts.netloc and not parts.fragment
    is_covered = parts.scheme == "https" or _is_this_machine(parts.hostname or "")
    if not (plain and clean and port_is_good and is_covered):
        detail = "A callback address is an https URL without credentials and fragment."
        raise Refusal("not_allowed_by_policy", "callback address", detail=detail)
    return parts


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_allowed(url: str, registered: str | None) -> None:
    """Refuse an address whose scheme, host and port are not those registered for the application."""
    if registered is None or _origin(parse_address(url)) != _origin(parse_address(registered)):
        detail = "Callbacks go to the scheme, host and port registered for the application."
        raise Refusal("not_allowed_by_policy", "callback address of another origin", detail=detail)


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def is_public(address: str) -> bool:
    """Say whether an IP address may be called: not loopback, private, link-local, multicast or reserved.

    An IPv4 address inside an IPv6 one is judged as what it is, because a network may unpack it again.
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or _behind_nat64(ip)
        if inner is None:
            return ip in _GLOBAL_UNICAST and ip.is_global and ip.sixtofour is None
        ip = inner
    return ip.is_global and not ip.is_multicast


def _behind_nat64(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
