"""Which of several tokens may serve now, by which keys are they compared, and who looks after those that are away?"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain

from hsm.device import Device
from hsm.errors import (
    DeviceError,
    DeviceUnavailable,
    HouseKeyAwaited,
    HouseKeyMissing,
    KeyMissing,
)
from hsm.housecheck import HouseName, check_value
from hsm.keys import KeyKind, KeyRef
from hsm.limits import Limits
from hsm.member import Member
from hsm.standing import Standing

_LOST_SECONDS = 0.2  # what recovers at once is waited for; after that, another token is asked
_LOOK_SECONDS = 0.25
_OPENING = 4  # times as long as callers wait: so long a start waits for the others when one token is there
_GRACE_SECONDS = 60.0  # after which a key that was made is on every token, or that is said
_MOST_MADE = 100  # keys of which that is looked at; more, and the rest go unseen
_QUESTION = b"countersign is it there"


class Fellowship:
    """The tokens of one gateway, in the order in which they serve."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = tuple(members)
        self.checks: dict[HouseName, bytes] = {}
        self.edition = 0  # of the checks: with another, everybody proves anew
        self.takeovers = 0
        self._serving = 0  # the number of the first that may, as seen last
        self._is_settled = False
        self._made: deque[tuple[float, KeyRef]] = deque(maxlen=_MOST_MADE)
        self._lock = threading.Lock()
        self._over = threading.Event()

    def close(self) -> None:
        """Close all of them, for good."""
        self._over.set()
        for member in self.members:
            with suppress(DeviceError):  # it is busy; the others are closed all the same
                member.close()

    # Who may serve

    def ready(self) -> Iterator[Member]:
        """Give those that may serve now, in order, and note who is the first."""
        is_first = True
        for member in self.members:
            if member.may_serve(self.edition):
                if is_first and member.number != self._serving:
                    self._take_over(member)
                is_first = False
                yield member

    def nearly_ready(self, tried: Sequence[Member]) -> Iterator[Member]:
        """Give the others that may after they proved it, or were waited for."""
        for member in self.members:
            if member not in tried and member.is_worth_trying:
                with suppress(DeviceUnavailable):
                    member.prove(self.edition, self.checks)
                    if not member.differences:
                        yield member

    def proved_device(self, member: Member) -> Device:
        """Return the device of a token that has the keys of the gateway. Raises DeviceUnavailable."""
        member.prove(self.edition, self.checks)
        if member.differences:
            raise member.refusal()
        return member.required()

    def every_device(self, but: HouseName | None = None) -> list[Device]:
        """Return all devices. Raises DeviceUnavailable unless every token can be reached and has all keys `but` one."""
        for member in self.members:
            member.prove(self.edition, self.checks)
            if not member.may_serve(self.edition, but):
                raise member.refusal()
        return [member.required() for member in self.members]

    def serving_device(self) -> Device:
        """Return the device of the one token on which keys are made. Raises DeviceUnavailable."""
        member = next(chain(self.ready(), self.nearly_ready(())), None)
        if member is None:
            raise self.refusal()
        return member.required()

    def refusal(self) -> DeviceUnavailable:
        """Return what is said when none may serve: the soonest that may again."""
        refusals = [member.refusal() for member in self.members if not member.may_serve(self.edition)]
        found = min(refusals, key=lambda each: each.retry_after_seconds, default=None)
        return found or DeviceUnavailable("no token may serve")

    @property
    def first_open(self) -> Device:
        """The device that serves, or else the first that was ever opened: there is one."""
        serving = next(self.ready(), None)
        devices = [each.device for each in self.members if each.device is not None]
        return devices[0] if serving is None else serving.required()

    def _take_over(self, member: Member) -> None:
        with self._lock:
            self.takeovers += self._serving not in (0, member.number)
            self._serving = member.number

    # By what they are compared

    def expect(self, checks: Mapping[HouseName, bytes]) -> None:
        """Have every token prove these keys, at once. If there are any, no other is learned that one alone has."""
        self._change({**self.checks, **checks}, ())
        if checks:
            self.compare()

    def learn(self, key: HouseName, device: Device) -> None:
        """Add a key of which this device is the authority, unless it is known.

        Raises HouseKeyAwaited if another does not have it, or cannot be asked: then it must not be used yet.
        """
        if key in self.checks:
            return
        value = check_value(device, key, {})
        proved = self._require_on_others(key, value) if self._is_settled else []
        self._change({**self.checks, key: value}, proved)

    def unlearn(self, key: HouseName) -> None:
        """Ask nobody for a key any more: it was destroyed."""
        self._change({name: value for name, value in self.checks.items() if name != key}, list(self.ready()))
        for member in self.members:
            member.awaited = tuple(each for each in member.awaited if each != str(key))

    def _change(self, checks: dict[HouseName, bytes], proved: Iterable[Member]) -> None:
        """Compare by these from now on; some members have proved themselves by them as well."""
        with self._lock:
            self.checks = checks
            self.edition += 1
            for member in proved:
                member.carry_over(self.edition)

    def _require_on_others(self, key: HouseName, value: bytes) -> list[Member]:
        """Return all. Raises HouseKeyAwaited unless all may serve and have the key: who is away may lack it."""
        unasked = [member for member in self.members if not member.may_serve(self.edition)]
        asked = [member for member in self.members if member not in unasked]
        waits = [member for member in asked if not member.has(key, value)]
        for member in asked:
            others = {each for each in member.awaited if each != str(key)}
            member.awaited = tuple(sorted(others | ({str(key)} if member in waits else set())))
        if waits or unasked:
            where = ", ".join(str(member.number) for member in (*waits, *unasked))
            text = f"The key {key} is not on token {where} yet, or that token cannot be asked."
            raise HouseKeyAwaited(text, "Bring it there.")
        return asked

    def compare(self) -> None:
        """Have everybody who can be reached prove everything again; what all have lost is asked of nobody any more."""
        self._is_settled = True
        for member in self.members:
            if member.is_worth_trying:
                with suppress(DeviceUnavailable):
                    member.prove(self.edition, self.checks, again=True)
        self._forget_destroyed()
        self._look_for_made()

    def _forget_destroyed(self) -> None:
        gone = [
            key
            for key in self.checks
            if all(f"{key} is missing" in each.differences for each in self.members)
        ]
        for key in gone:
            self.unlearn(key)

    # Whether keys that are made on one reach the others

    def note_made(self, keys: Iterable[KeyRef]) -> None:
        """Remember keys that were made just now."""
        self._made.extend((time.monotonic(), key) for key in keys)

    def _look_for_made(self) -> None:
        while self._made and self._made[0][0] < time.monotonic() - _GRACE_SECONDS:
            try:
                _, key = self._made.popleft()
                has = [(member, _holds(member.required(), key)) for member in self.ready()]
            except (IndexError, DeviceError):
                return
            if any(found for _, found in has):
                for member in (member for member, found in has if not found):
                    member.strays += 1

    def standings(self) -> list[Standing]:
        """Return what there is to tell of each."""
        serving = next(self.ready(), None)
        return [member.standing(0 if serving is None else serving.number) for member in self.members]

    # Those that are away

    def open_all(self, seconds: float) -> None:
        """Open everybody, side by side; if one is there, wait so long for the others.

        Raises if none is, or if a setting is wrong: each process would try a wrong PIN anew until the token is locked.
        """
        threads = [thread for each in self.members if (thread := each.begin_to_open())]
        end = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        while not any(each.device for each in self.members) and any(thread.is_alive() for thread in threads):
            time.sleep(_LOOK_SECONDS)
        errors = [each.error for each in self.members if each.error is not None]
        wrong = next((found for each in self.members if (found := each.wrong_setting())), None)
        if wrong is not None or not any(each.device for each in self.members):
            self.close()
            raise wrong or errors[0]

    def look_after(self) -> None:
        """Open whoever was away, and have whoever came back prove itself, until all is closed."""
        while not self._over.wait(_LOOK_SECONDS):
            for member in self.members:
                member.begin_to_open()
                if member.is_well:
                    with suppress(DeviceError):
                        member.prove(self.edition, self.checks)


def opened(uris: Sequence[str], limits: Limits, on_hung: Callable[[], None] | None) -> Fellowship:
    """Open the tokens of these URIs. Raises as `Tokens.open` says."""
    lasting = replace(limits, lost_seconds=_LOST_SECONDS)
    made = Fellowship([Member(number, uri, lasting, on_hung) for number, uri in enumerate(uris, 1)])
    made.open_all(_OPENING * limits.wait_seconds)
    threading.Thread(target=made.look_after, name="hsm-tokens", daemon=True).start()
    return made


def has_label(device: Device, key: HouseName) -> bool:
    """Whether the token has a key of the gateway of this name and version, right or wrong."""
    if not key.is_pair:
        return device.find_house_key(key.name, key.version) is not None
    try:
        device.house_pair(key.name, key.version)
    except HouseKeyMissing:
        return False
    return True


def _holds(device: Device, key: KeyRef) -> bool:
    try:
        if key.kind is KeyKind.PUBLIC:
            device.public_point(key)
        else:
            device.mac(key, _QUESTION)
    except KeyMissing:
        return False
    return True
