"""Has this address failed too often: counts by address and minute, in this process alone.

It keeps one address from filling the event log and the HSM's time. It decides nothing about users: those counters
are exact, in the database, and count only what was asked under a valid authentication code.
"""

import ipaddress
from collections import Counter

from gateway.api.problems import Reply
from gateway.clock import Clock
from gateway.refusals import Refusal
from gateway.wire.authcode import HEADER

_MINUTE_SECONDS = 60
_REFUSED, _BROKEN = 400, 500
_SITE_BITS = 64  # of IPv6: one site has a network of this size, and all the addresses in it
_ADDRESSES_MOST = 100_000  # a flood of addresses must not fill the memory; beyond it new ones are not counted


class Throttle:
    """Failed requests of the present minute, by address.

    Args:
        most: failures of one address in one minute after which it is refused until the minute is over.
        clock: tells the minute.
    """

    def __init__(self, most: int, clock: Clock) -> None:
        self._most = most
        self._clock = clock
        self._minute = 0
        self._failures: Counter[str | None] = Counter()

    def is_closed(self, address: str | None) -> bool:
        """Say whether the address has to wait."""
        if not self._failures:
            return False
        self._turn()
        return self._failures.get(_network(address), 0) >= self._most

    def require_open(self, address: str | None) -> None:
        """Refuse an address that has to wait, before HSM and database are asked anything."""
        if self.is_closed(address):
            raise Refusal("too_many_failures", "too many failed requests from this address")

    def count(self, address: str | None) -> None:
        """Count one more failure of the address."""
        self._turn()
        network = _network(address)
        if network in self._failures or len(self._failures) < _ADDRESSES_MOST:
            self._failures[network] += 1

    def count_unproved(self, address: str | None, reply: Reply) -> None:
        """Count a refused request of a phone that showed no valid authentication code: its answer has no proof."""
        if _REFUSED <= reply.status < _BROKEN and HEADER.lower() not in reply.headers:
            self.count(address)

    def _turn(self) -> None:
        minute = int(self._clock.now().timestamp()) // _MINUTE_SECONDS
        if minute != self._minute:
            self._minute = minute
            self._failures.clear()


def _network(address: str | None) -> str | None:
    """Return what is counted as one: an IPv4 address, or the network of an IPv6 site."""
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return address
    return address if ip.version == 4 else str(ipaddress.ip_network((ip, _SITE_BITS), strict=False))  # noqa: PLR2004
