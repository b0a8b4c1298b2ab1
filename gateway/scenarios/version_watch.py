"""When is it time to look for new versions of the gateway's own keys on the token?

A look searches the token for each key, and some modules read all of it for each search. So what the database notes of
versions is compared first. That is a hint that it is time, and no more: which key a version is, the token alone says,
and now and then it is looked at whatever the database says.
"""

from contextlib import suppress
from datetime import timedelta

from gateway.clock import Clock
from gateway.refusals import Outage
from gateway.scenarios.context import HouseKeys
from gateway.store import house_keys
from gateway.store.database import Database
from hsm.any_device import AnyDevice
from hsm.tokens import Tokens

_RARELY = timedelta(minutes=10)


class VersionWatch:
    """What the database noted at the last look, and when that was."""

    def __init__(self, device: AnyDevice, keys: HouseKeys, database: Database, clock: Clock) -> None:
        """Begin with keys that were looked up a moment ago."""
        self._device = device
        self._keys, self._database, self._clock = keys, database, clock
        self._seen: set[house_keys.Version] | None = None
        self._looked_at = clock.now()

    def look(self) -> None:
        """Look at the token if it is time. Raises hsm.errors.DeviceError; the next call looks again then."""
        noted = self._noted()
        if not self._is_time(noted):
            self._seen = self._seen if noted is None else noted
            return
        self._keys.refresh()
        self._looked_at = self._clock.now()
        self._seen = noted

    def _is_time(self, noted: set[house_keys.Version] | None) -> bool:
        is_long_ago = abs(self._clock.now() - self._looked_at) >= _RARELY
        # Of several tokens each process tells which have to get a version that is noted nowhere yet.
        if is_long_ago or self._keys.is_version_awaited or isinstance(self._device, Tokens):
            return True
        if noted is None:
            return False
        newest = self._keys.newest
        changed = self._seen is not None and noted != self._seen
        return changed or any(version > newest.get(name, version) for name, version in noted)

    def _noted(self) -> set[house_keys.Version] | None:
        """Return what the database notes; None while it is away."""
        with suppress(Outage), self._database.reading() as connection:
            return set(house_keys.noted_house_keys(connection))
        return None
