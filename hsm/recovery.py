"""Is the device there, and if not, when is it tried again, and by whom?

By one thread of its own, never by callers. Callers that meet a loss wait for the first attempt, which mostly
succeeds within milliseconds. When it fails, they and all later ones are told at once when the next attempt will be.
So nobody is kept, and nobody piles up in a module that does not answer. A refused PIN stops it for good.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from enum import StrEnum

from hsm.errors import DeviceError, DeviceUnavailable, PinRejected
from hsm.gate import Deadline
from hsm.pace import Pace

_STOPPED_SECONDS = 60  # somebody has to do something first


class State(StrEnum):
    """What callers may expect."""

    WELL = "well"
    TRYING = "recovering"  # the first attempt is under way: wait for it
    AWAY = "away"  # it failed: come back after the next one
    STOPPED = "stopped"  # closed, refused PIN, or hung


class TooSoon(DeviceUnavailable):
    """The module was initialised too often lately; `seconds` from now it may be again."""

    def __init__(self, seconds: float) -> None:
        super().__init__("the device comes and goes", retry_after_seconds=math.ceil(seconds))
        self.seconds = seconds


class Recovery:
    """The state of one device. `attempt` makes it usable again or raises a DeviceError."""

    def __init__(
        self,
        attempt: Callable[[], None],
        pace: Pace,
        turn_away: Callable[[DeviceUnavailable], None],
        patience: float | None = None,
    ) -> None:
        self.state = State.WELL
        self.recovered = 0
        self.failed_attempts = 0
        self._attempt = attempt
        self._pace = pace
        self._turn_away = turn_away
        self._patience = math.inf if patience is None else patience
        self._changed = threading.Condition(threading.Lock())
        self._failures = 0  # in a row
        self._why = ""
        self._next_attempt = 0.0

    def require_reachable(self) -> None:
        """Raise DeviceUnavailable at once if there is no use in waiting."""
        if self.state in (State.AWAY, State.STOPPED):
            raise self.refusal()

    def wait(self, deadline: Deadline) -> None:
        """Return as soon as the device is well. Raises DeviceUnavailable if it is not in time, or patience ends."""
        if self.state is State.WELL:
            return
        with self._changed:
            seconds = min(deadline.left, self._patience)
            self._changed.wait_for(lambda: self.state is not State.TRYING, seconds)
        self._require_well()

    def begin(self) -> None:
        """Have the device recovered, unless that is under way."""
        with self._changed:
            if self.state is State.WELL:
                self.state = State.TRYING
                threading.Thread(target=self._run, name="hsm-recovery", daemon=True).start()

    def stop(self, why: str) -> None:
        """Stop for good and tell everybody who waits."""
        with self._changed:
            self.state, self._why = State.STOPPED, why
            self._changed.notify_all()
        self._turn_away(self.refusal())

    def refusal(self) -> DeviceUnavailable:
        """Return what a caller is told now: why, and when to come back (1 second at least)."""
        if self.state is State.STOPPED:
            return DeviceUnavailable(self._why, retry_after_seconds=_STOPPED_SECONDS)
        seconds = math.ceil(self.seconds_to_next_attempt)
        return DeviceUnavailable(
            f"the device is away: {self._why or 'it is being looked for'}",
            retry_after_seconds=max(1, seconds),
        )

    @property
    def seconds_to_next_attempt(self) -> float:
        """How long until the device is tried again; 0 if it need not be, or is being tried."""
        return max(0.0, self._next_attempt - time.monotonic()) if self.state is State.AWAY else 0.0

    def _require_well(self) -> None:
        if self.state is not State.WELL:
            raise self.refusal()

    def _run(self) -> None:
        while True:
            why, least_wait = self._try()
            with self._changed:
                if self.state is State.STOPPED:
                    return
                if why is None:
                    self.recovered += 1  # before anybody sees that it is well
                    self.state, self._failures = State.WELL, 0
                    self._changed.notify_all()
                    return
                delay = self._failed(why, least_wait)
            self._turn_away(self.refusal())
            with self._changed:
                if self._changed.wait_for(lambda: self.state is State.STOPPED, delay):
                    return

    def _try(self) -> tuple[str | None, float]:
        """Return what was wrong, or None, and for how long there is no use in another attempt."""
        try:
            self._attempt()
        except PinRejected as exc:
            self.stop(str(exc))
            return str(exc), 0.0
        except TooSoon as exc:
            return str(exc), exc.seconds
        except DeviceError as exc:
            return str(exc), 0.0
        except Exception as exc:  # noqa: BLE001  # if this thread died, everybody would wait for it
            return f"the attempt broke off ({type(exc).__name__})", 0.0
        return None, 0.0

    def _failed(self, why: str, least_wait: float) -> float:
        self._failures += 1
        self.failed_attempts += 1
        delay = max(least_wait, self._pace.delay(self._failures))
        self.state, self._why, self._next_attempt = State.AWAY, why, time.monotonic() + delay
        self._changed.notify_all()
        return delay
