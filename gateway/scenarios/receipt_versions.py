"""Which versions of the receipt key does this process know, and with which does it sign?

With the newest. All of them stay on the token, because a receipt must verify as long as anybody keeps it.
"""

from dataclasses import dataclass

from gateway.wire import spki
from hsm.any_device import AnyDevice
from hsm.errors import HouseKeyMissing
from hsm.keys import KeyRef


@dataclass(frozen=True, slots=True)
class ReceiptKey:
    """One version: the pair on the token, the public point, and the thumbprint by which receipts name it."""

    version: int
    private: KeyRef
    public: KeyRef
    point: bytes
    kid: str


class ReceiptVersions:
    """The versions of the receipt key on the token, from the first on."""

    def __init__(self, device: AnyDevice, name: str) -> None:
        """Find them. Raises hsm.errors.HouseKeyMissing if the first is not there. Talks to the device."""
        self._device, self._name = device, name
        self.known: tuple[ReceiptKey, ...] = (self._read(1),)
        self.refresh()

    @property
    def current(self) -> ReceiptKey:
        """The version that signs."""
        return self.known[-1]

    def find(self, kid: str) -> ReceiptKey | None:
        """Return the version of this thumbprint; asks the token if it is none of those known."""
        found = self._known(kid)
        if found is None:
            self.refresh()
            found = self._known(kid)
        return found

    def refresh(self) -> None:
        """Learn of newer versions. Talks to the device."""
        try:
            while True:
                self.known = (*self.known, self._read(self.current.version + 1))
        except HouseKeyMissing:
            return

    def _known(self, kid: str) -> ReceiptKey | None:
        return next((each for each in self.known if each.kid == kid), None)

    def _read(self, version: int) -> ReceiptKey:
        private, public = self._device.house_pair(self._name, version)
        point = self._device.public_point(public)
        return ReceiptKey(version, private, public, point, spki.jwk_thumbprint(point))
