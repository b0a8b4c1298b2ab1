"""Which versions of one of the gateway's own keys does this process know, and which does it use for what is new?

The newest. Versions are learned from the token, at the start and then at an interval, so that a rotation needs no
restart: it makes a version, waits until every process knows it, and uses it then.
"""

from hsm.any_device import AnyDevice
from hsm.errors import DeviceUnavailable, HouseKeyMissing
from hsm.keys import KeyRef

_MOST_RETIRED = 100  # versions below the oldest that is left
_LEARN_SECONDS = 10


class KeyVersions:
    """The versions of one secret key on the token, by their numbers."""

    def __init__(self, device: AnyDevice, name: str) -> None:
        """Find them. Raises hsm.errors.HouseKeyMissing if there is none. Talks to the device."""
        self._device, self._name = device, name
        self._known: dict[int, KeyRef] = {}
        self.is_one_awaited = False  # a row named the version after the newest
        self._learn(1, _MOST_RETIRED)
        if not self._known:
            self._known = {1: device.house_key(name)}  # says what is missing, if the login holds

    @property
    def numbers(self) -> list[int]:
        """The versions that are known, oldest first."""
        return sorted(self._known)

    @property
    def newest(self) -> int:
        """The version for what is made from now on."""
        return max(self._known)

    @property
    def current(self) -> tuple[int, KeyRef]:
        """That version and its key."""
        known = self._known
        return max(known), known[max(known)]

    def of(self, version: int) -> KeyRef | None:
        """Return the key of the version that a row names; None if there is none.

        Raises:
            DeviceUnavailable: it is the one after the newest: somebody rotates, and this process is about to learn it.
        """
        if version == self.newest + 1:
            self.is_one_awaited = True
            raise DeviceUnavailable(
                f"a new version of the {self._name} key", retry_after_seconds=_LEARN_SECONDS
            )
        return self._known.get(version)

    def refresh(self) -> None:
        """Learn of newer versions, and forget those that are gone. Talks to the device."""
        newest = self.newest
        self._learn(newest + 1, 1)
        self.is_one_awaited = False
        # In some modules a search reads the whole token, so nothing is looked for that needs not be.
        older = [version for version in self.numbers if version < newest]
        if not older or self._find(newest) is None:
            return  # without the newest the login is lost, and everything seems to be gone
        for version in older:
            if self._find(version) is None:
                self._known = {number: ref for number, ref in self._known.items() if number != version}

    def _learn(self, first: int, most_missing: int) -> None:
        """Look for versions from the first on: so many may be missing before one is found, then none."""
        number = first
        while (found := self._find(number)) is None and number < first + most_missing - 1:
            number += 1
        while found is not None:
            self._known = {**self._known, number: found}
            number += 1
            found = self._find(number)

    def _find(self, version: int) -> KeyRef | None:
        return self._device.find_house_key(self._name, version)


def has_any(device: AnyDevice, name: str) -> bool:
    """Say whether the token has the key in any version. Talks to the device."""
    try:
        return bool(KeyVersions(device, name).numbers)
    except HouseKeyMissing:
        return False
