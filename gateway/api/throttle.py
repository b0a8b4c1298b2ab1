"""Has this address failed too often: counts by address and minute, in this process alone.

It keeps one address from filling the event log and the HSM's time. It decides nothing about users: those counters
are exact, in the database, and count only what was asked under a valid authentication code.
"""

from collections import Counter

from gateway.clock import Clock

_MINUTE_SECONDS = 60
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
        self._turn()
        return self._failures.get(address, 0) >= self._most

    def count(self, address: str | None) -> None:
        """Count one more failure of the address."""
        self._turn()
        if address in self._failures or len(self._failures) < _ADDRESSES_MOST:
            self._failures[address] += 1

    def _turn(self) -> None:
        minute = int(self._clock.now().timestamp()) // _MINUTE_SECONDS
        if minute != self._minute:
            self._minute = minute
            self._failures.clear()
