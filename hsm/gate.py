"""Who may talk to the device now, who may wait for it, and for how long?

As many callers as there are sessions are let in; a bounded number waits, in order of arrival, each until its
own deadline; whoever comes beyond that is told at once. So a slow device costs every caller a bounded time,
and a crowd never becomes a queue that nobody wants the answers of any more.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from hsm.errors import DeviceUnavailable


class Deadline:
    """A moment `seconds` from now, on the clock that nobody sets."""

    def __init__(self, seconds: float) -> None:
        self._moment = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until then; 0 afterwards."""
        return max(0.0, self._moment - time.monotonic())


class _Turn:
    """One waiting caller. `come` is held until its turn has come, or until it is turned away."""

    __slots__ = ("come", "refusal")

    def __init__(self) -> None:
        self.come = threading.Lock()
        self.come.acquire()
        self.refusal: DeviceUnavailable | None = None


class Gate:
    """Lets `places` callers in at a time and `most_waiting` wait."""

    def __init__(self, places: int, most_waiting: int) -> None:
        self.places = places
        self.most_waiting = most_waiting
        self._lock = threading.Lock()
        self._free = places
        self._waiting: deque[_Turn] = deque()

    @contextmanager
    def turn(self, deadline: Deadline) -> Iterator[None]:
        """Be inside. Raises DeviceUnavailable if too many wait, or it is not our turn before the deadline."""
        self.enter(deadline)
        try:
            yield
        finally:
            self.leave()

    def enter(self, deadline: Deadline) -> None:
        """Begin a turn; whoever does ends it with `leave`. Raises as `turn` does."""
        waiting = self._line_up()
        if waiting is not None:
            self._wait(waiting, deadline)

    def leave(self) -> None:
        """End a turn: the place goes to whoever waits longest."""
        with self._lock:
            if not self._waiting:
                self._free += 1
                return
            next_turn = self._waiting.popleft()
        next_turn.come.release()

    def turn_away(self, refusal: DeviceUnavailable) -> None:
        """Tell everybody who waits at this moment that there is no use in it."""
        with self._lock:
            turned_away = list(self._waiting)
            self._waiting.clear()
        for each in turned_away:
            each.refusal = refusal
            each.come.release()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def inside(self) -> int:
        """How many are inside."""
        return self.places - self._free

    def _line_up(self) -> _Turn | None:
        with self._lock:
            if self._free:  # then nobody waits: a place is handed over, not put back, while somebody does
                self._free -= 1
                return None
            if len(self._waiting) >= self.most_waiting:
                raise DeviceUnavailable(f"the device is busy: {self.most_waiting} callers wait already")
            turn = _Turn()
            self._waiting.append(turn)
            return turn

    def _wait(self, turn: _Turn, deadline: Deadline) -> None:
        if not turn.come.acquire(timeout=deadline.left) and self._gave_up(turn):
            raise DeviceUnavailable("the device is busy: no session within the time allowed")
        if turn.refusal is not None:
            raise DeviceUnavailable(str(turn.refusal), retry_after_seconds=turn.refusal.retry_after_seconds)

    def _gave_up(self, turn: _Turn) -> bool:
        """Leave the queue; false if our turn came, or we were turned away, in the last moment."""
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return True
        turn.come.acquire()  # whoever took us out of the queue releases it in the next moment
        return False
