"""Which of several tokens with the same keys is asked, and what follows when one is lost or has other keys?

The first of the list that may serve: that can be reached, and proved that the gateway's own keys on it are the very
ones. What it does not have or cannot do just now, the next is asked for. Keys are made on one token, the one that
serves; to bring them to the others is the vendor's business, and whether that happens is looked after here. A key
counts as missing only when every token was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from hsm import fellowship, wrapping
from hsm.derivation import MASTER
from hsm.desk import Desk
from hsm.device import Device
from hsm.errors import (
    DeviceError,
    DeviceUnavailable,
    HouseKeyAwaited,
    HouseKeyMissing,
    KeyElsewhere,
    KeyMissing,
)
from hsm.fellowship import Fellowship
from hsm.housecheck import HouseName
from hsm.keys import DerivedRef, FleetingRef, KeyKind, KeyRef, PublicRef, SecretRef
from hsm.limits import Limits
from hsm.member import Member
from hsm.standing import Standing

T = TypeVar("T")


class Tokens:
    """Several tokens, with what one `Device` offers. Open it once per process."""

    def __init__(self, fellowship: Fellowship) -> None:
        self._all = fellowship

    @classmethod
    def open(cls, uris: Sequence[str], limits: Limits, on_hung: Callable[[], None] | None = None) -> Tokens:
        """Open as many of the tokens as can be; go on trying with the others, in a thread.

        Raises what opening the first of them raised, if none can be opened; PinRejected and InvalidUri if any is so.
        """
        return cls(fellowship.opened(uris, limits, on_hung))

    def close(self) -> None:
        """Close all of them; nothing works afterwards."""
        self._all.close()

    # What is told of them

    def expect(self, checks: Mapping[HouseName, bytes]) -> None:
        """Have every token prove these keys before it serves; without any, the first teaches what it is asked for."""
        self._all.expect(checks)

    def checks(self) -> dict[HouseName, bytes]:
        """Return the values of the gateway's own keys that were asked for so far, by which tokens are compared."""
        return dict(self._all.checks)

    def compare(self) -> None:
        """Have every token prove again what it has, and look whether keys made on one reached the others."""
        self._all.compare()

    def standings(self) -> list[Standing]:
        """Return what there is to tell of each token."""
        return self._all.standings()

    @property
    def takeovers(self) -> int:
        """How often another token than before began to serve."""
        return self._all.takeovers

    @property
    def is_hung(self) -> bool:
        """Whether a call did not come back: this process has to end."""
        return any(each.device is not None and each.device.is_hung for each in self._all.members)

    @property
    def can_derive(self) -> bool:
        """Whether the token that serves can derive keys."""
        return self._all.first_open.can_derive

    @property
    def strategy(self) -> wrapping.Strategy | None:
        """How the token that serves delivers under AES keys."""
        return self._all.first_open.strategy

    @property
    def sealing(self) -> wrapping.Strategy | None:
        """How the token that serves delivers to RSA keys."""
        return self._all.first_open.sealing

    def warm(self) -> int:
        """Each token is swept when it is opened; returns how many are open."""
        return sum(each.device is not None for each in self._all.members)

    # What any of them can do

    def mac(self, key: SecretRef, data: bytes) -> bytes:
        """As `Device.mac`."""
        return self._ask(lambda device: device.mac(key, data))

    def verify(self, key: PublicRef, digest: bytes, signature: bytes) -> bool:
        """As `Device.verify`."""
        return self._ask(lambda device: device.verify(key, digest, signature))

    def sign(self, key: KeyRef, digest: bytes) -> bytes:
        """As `Device.sign`."""
        return self._ask(lambda device: device.sign(key, digest))

    def random(self, length: int) -> bytes:
        """As `Device.random`."""
        return self._ask(lambda device: device.random(length))

    def public_point(self, key: KeyRef) -> bytes:
        """As `Device.public_point`."""
        return self._ask(lambda device: device.public_point(key))

    def together(self, work: Callable[[Desk], T], fleeting_keys: Sequence[FleetingRef] = ()) -> T:
        """As `Device.together`: all the work on one token; on the next, all of it anew."""
        return self._ask(lambda device: device.together(work, fleeting_keys))

    def issue_derived(self, cover: wrapping.Cover, keys: Sequence[DerivedRef]) -> list[bytes]:
        """As `Device.issue_derived`; nothing is stored, so the next token may do it as well."""
        return self._ask(lambda device: device.issue_derived(cover, keys))

    def usable_hashes(self, modulus: int, exponent: int) -> frozenset[str]:
        """As `Device.usable_hashes`, of the token that serves."""
        return self._ask(lambda device: device.usable_hashes(modulus, exponent))

    def forget(self, keys: Sequence[FleetingRef]) -> None:
        """As `Device.forget`, on every token that can be reached."""
        for member in self._all.members:
            if member.device is not None and member.is_well:
                with suppress(DeviceError):  # what the HSM holds gives way sooner or later anyway
                    member.device.forget(keys)

    # What is made or destroyed

    def issue(self, cover: wrapping.Cover, ids: Sequence[bytes], label: str) -> list[bytes]:
        """As `Device.issue`, on the token that serves and, if it fails there, on no other.

        What a lost token kept of the attempt would be another key under the same id.
        """
        wrapped = self._all.serving_device().issue(cover, ids, label)
        self._all.note_made(KeyRef(KeyKind.SECRET, each) for each in ids)
        return wrapped

    def import_public(self, id: bytes, point: bytes, label: str) -> KeyRef:  # noqa: A002
        """As `Device.import_public`, on the token that serves."""
        ref = self._all.serving_device().import_public(id, point, label)
        self._all.note_made([ref])
        return ref

    def destroy(self, key: KeyRef) -> bool:
        """As `Device.destroy`, on every token. Where it can be destroyed it is.

        Raises KeyElsewhere while some tokens cannot be asked or believed, DeviceUnavailable while none can: try again
        then.
        """
        found: list[bool] = []
        outages: list[DeviceUnavailable] = []
        for member in self._all.members:
            try:
                found.append(self._all.proved_device(member).destroy(key))
            except DeviceUnavailable as error:
                outages.append(error)
        if found and outages:
            raise KeyElsewhere(f"another token cannot be asked: {outages[0]}")
        if outages:
            raise outages[0]
        return any(found)

    def user_keys(self) -> list[KeyRef]:
        """As `Device.user_keys`: what any token has. Raises DeviceUnavailable unless all can be asked."""
        return list(dict.fromkeys(key for device in self._all.every_device() for key in device.user_keys()))

    # The gateway's own keys

    def house_key(self, name: str, version: int = 1) -> KeyRef:
        """As `Device.house_key`."""
        key = HouseName(name, version)
        return self._ask(lambda device: self._learned(key, device, device.house_key(name, version)))

    def house_pair(self, name: str, version: int = 1) -> tuple[KeyRef, KeyRef]:
        """As `Device.house_pair`. A version that is new, and not yet seen on every token, is missing."""
        key = HouseName(name, version, is_pair=True)
        try:
            return self._ask(lambda device: self._learned(key, device, device.house_pair(name, version)))
        except KeyElsewhere:
            if version == 1 or key in self._all.checks:
                raise
            # Whoever looks for the next version need not wait for a token that is away: nobody uses it yet.
            raise HouseKeyMissing(f"There is no {key}.", "Create it with `countersign init`.") from None

    def find_house_key(self, name: str, version: int) -> KeyRef | None:
        """As `Device.find_house_key`. A version that is new, and not yet seen on every token, is not there."""
        key = HouseName(name, version)

        def find(device: Device) -> KeyRef | None:
            found = device.find_house_key(name, version)
            if found is not None:
                return self._learned(key, device, found)
            if key in self._all.checks:
                raise HouseKeyMissing(f"The token has no {key} any more.", "Restore it.")
            return None

        try:
            return self._ask(find)
        except HouseKeyMissing:
            return None

    def create_house_key(self, name: str, version: int = 1) -> bool:
        """As `Device.create_house_key`, on the first token, if no other has it. Raises unless all can be asked."""
        return self._create(HouseName(name, version), lambda device: device.create_house_key(name, version))

    def create_master(self, version: int = 1) -> bool:
        """As `Device.create_master`, as above."""
        return self._create(HouseName(MASTER, version), lambda device: device.create_master(version))

    def create_house_pair(self, name: str, version: int = 1) -> bool:
        """As `Device.create_house_pair`, as above."""
        key = HouseName(name, version, is_pair=True)
        return self._create(key, lambda device: device.create_house_pair(name, version))

    def destroy_house_key(self, name: str, version: int) -> bool:
        """As `Device.destroy_house_key`, on every token. Raises, and destroys nothing, unless all can be asked.

        A token that lost this very key already, when an earlier attempt broke off, is in nobody's way.
        """
        key = HouseName(name, version)
        found = [device.destroy_house_key(name, version) for device in self._all.every_device(but=key)]
        self._all.unlearn(key)
        return any(found)

    def _create(self, key: HouseName, create: Callable[[Device], bool]) -> bool:
        devices = self._all.every_device()
        if any(fellowship.has_label(device, key) for device in devices[1:]):
            return False
        return create(devices[0])

    def _learned(self, key: HouseName, device: Device, found: T) -> T:
        """Return what was found, after noting by what the key proves itself."""
        self._all.learn(key, device)
        return found

    # Whom to ask

    def _ask(self, operation: Callable[[Device], T]) -> T:
        """Ask the tokens in turn until one answers; whatever else than an outage or a missing key it is."""
        lacking: list[Member] = []
        missing: DeviceError | None = None
        outage: DeviceUnavailable | None = None
        for member, device in self._candidates():
            try:
                answer = operation(device)
            except DeviceUnavailable as error:
                outage = outage or error
            except HouseKeyAwaited:
                raise
            except (KeyMissing, HouseKeyMissing) as error:
                missing = missing or error
                lacking.append(member)
            else:
                for each in lacking:
                    each.strays += isinstance(missing, KeyMissing)
                return answer
        raise self._failure(len(lacking), missing, outage)

    def _candidates(self) -> Iterator[tuple[Member, Device]]:
        """Give first those that may serve now, then those that may after a moment."""
        tried = []
        for member in self._all.ready():
            tried.append(member)
            yield member, member.required()
        for member in self._all.nearly_ready(tried):
            yield member, member.required()

    def _failure(
        self, asked: int, missing: DeviceError | None, outage: DeviceUnavailable | None
    ) -> DeviceError:
        if missing is not None and asked == len(self._all.members):
            return missing
        if outage is None:
            outage = self._all.refusal()
        if missing is not None:
            text = f"{missing}; another token cannot be asked: {outage}"
            return KeyElsewhere(text, retry_after_seconds=outage.retry_after_seconds)
        return outage
