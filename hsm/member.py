"""What is known of one of several tokens: is it open, can it be reached, did it prove to be the same as the others?"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from hsm import housecheck
from hsm.device import Device
from hsm.errors import DeviceError, DeviceUnavailable, InvalidUri, PinRejected, PinUnreadable, StartupError
from hsm.housecheck import HouseName
from hsm.keys import KeyRef
from hsm.limits import Limits
from hsm.recovery import State
from hsm.standing import Standing
from hsm.uri import TokenUri


class Member:
    """One token. It may serve while it can be reached and has proved, since it was reached last, what was asked."""

    def __init__(self, number: int, uri: str, limits: Limits, on_hung: Callable[[], None] | None) -> None:
        self.number = number
        self.label = TokenUri.parse(uri).token or ""
        self.device: Device | None = None
        self.error: DeviceError | None = None  # why it is not open
        self.differences: tuple[str, ...] = ()
        self.awaited: tuple[str, ...] = ()
        self.strays = 0
        self._uri, self._limits, self._on_hung = uri, limits, on_hung
        self._known: dict[HouseName, tuple[KeyRef, ...]] = {}
        # After how many recoveries, and for which edition of the checks.
        self._proved: tuple[int, int] | None = None
        self._opening, self._proving = threading.Lock(), threading.Lock()
        self._failures, self._next_attempt, self._is_closed = 0, 0.0, False

    @property
    def is_well(self) -> bool:
        """Whether it can be reached, as far as anybody knows, and does not keep somebody waiting just now."""
        device = self.device
        return (
            device is not None
            and device.recovery.state is State.WELL
            and not device.has_waited(self._limits.wait_seconds)
        )

    def may_serve(self, edition: int, but: HouseName | None = None) -> bool:
        """Whether it can be reached, and proved that it has the keys of this edition of the checks, all `but` one."""
        device = self.device
        return (
            device is not None
            and self._proved == (device.recovery.recovered, edition)
            and set(self.differences) <= ({f"{but} is missing"} if but else set())
            and self.is_well
        )

    def prove(self, edition: int, checks: Mapping[HouseName, bytes], *, again: bool = False) -> None:
        """Have it prove what it did not prove yet, or `again`. Raises DeviceUnavailable; then nothing is proved."""
        device = self.required()
        with self._alone():
            recovered = device.recovery.recovered
            if self._proved == (recovered, edition) and not again:
                return
            found = [housecheck.difference(device, key, value, self._known) for key, value in checks.items()]
            self.differences = tuple(filter(None, found))
            self._proved = (recovered, edition)

    def carry_over(self, edition: int) -> None:
        """Note that what it proved is good for this edition as well."""
        if self._proved is not None:
            self._proved = (self._proved[0], edition)

    def has(self, key: HouseName, value: bytes) -> bool:
        """Whether it has this very key. Raises DeviceUnavailable."""
        with self._alone():
            return housecheck.difference(self.required(), key, value, self._known) is None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._proving.acquire(timeout=self._limits.wait_seconds):
            raise self.refusal()
        try:
            yield
        finally:
            self._proving.release()

    def refusal(self) -> DeviceUnavailable:
        """Return what a caller is told who would need this token."""
        if self.device is None:
            return DeviceUnavailable(
                f"token {self.number} is not there: {self.error or 'it is being opened'}"
            )
        if self.device.recovery.state in (State.AWAY, State.STOPPED):
            return self.device.recovery.refusal()
        why = ", ".join(self.differences) or "it does not answer in time"
        return DeviceUnavailable(f"token {self.number} may not serve: {why}", retry_after_seconds=5)

    @property
    def is_worth_trying(self) -> bool:
        """Whether there is use in waiting for it."""
        return self.device is not None and self.device.recovery.state in (State.WELL, State.TRYING)

    def begin_to_open(self) -> threading.Thread | None:
        """Open it, in a thread, if it is not open, nobody is at it, and it is time for another attempt."""
        is_due = self.device is None and not self._is_given_up and time.monotonic() >= self._next_attempt
        if not is_due or not self._opening.acquire(blocking=False):
            return None
        thread = threading.Thread(target=self._open, name="hsm-open", daemon=True)
        thread.start()  # a module may hang in it, and then nobody else must
        return thread

    def close(self) -> None:
        """Close it for good, also if it is being opened just now."""
        self._is_closed = True
        if self.device is not None:
            self.device.close()

    def standing(self, serving: int) -> Standing:
        """Return what there is to tell."""
        device = self.device
        shot = None if device is None else device.snapshot()
        unopened = "stopped" if self._is_given_up else "away"
        return Standing(
            number=self.number,
            label=self.label,
            state=unopened if shot is None else shot.state,
            why="" if device is not None else str(self.error or "it is being opened"),
            serves=self.number == serving,
            differences=self.differences,
            awaited=self.awaited,
            strays=self.strays,
            shot=shot,
        )

    def wrong_setting(self) -> StartupError | None:
        """Return what is wrong with its URI or PIN, in words that name the token; None if nothing was found wrong."""
        error = self.error
        if not isinstance(error, PinRejected | InvalidUri):
            return None
        text = str(error).removesuffix(error.mend).rstrip()
        mend = f"{error.mend} Or leave out the URI of this token until then."
        return type(error)(f"Token {self.number} ({self.label}): {text}", mend)

    @property
    def _is_given_up(self) -> bool:
        return self._is_closed or isinstance(self.error, PinRejected | InvalidUri)

    def required(self) -> Device:
        """Return its device. Raises DeviceUnavailable if it was never opened."""
        if self.device is None:
            raise self.refusal()
        return self.device

    def _open(self) -> None:
        try:
            self._try_to_open()
        except DeviceError as error:
            self._failures += 1
            self._next_attempt = time.monotonic() + self._limits.pace.delay(self._failures)
            self.error = error
        finally:
            self._opening.release()

    def _try_to_open(self) -> None:
        # The token was looked for in vain: a module may have to be initialised again to see it.
        in_vain = self.error is not None and not isinstance(self.error, PinUnreadable)
        opened = Device.open(self._uri, limits=self._limits, on_hung=self._on_hung, renew=in_vain)
        with suppress(DeviceError):  # then each handle is looked for when it is needed
            opened.warm()
        self.device, self.error = opened, None
        if self._is_closed:
            opened.close()
