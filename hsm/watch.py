"""Has a call into the module not come back?

A call that hangs in C can neither be stopped nor be waited for with a time limit. It can only be noticed, from
another thread; then the module is given up and the process has to end, because finalising the module would hang
as well. What ends the process is not this package's business: it tells its listeners, once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_LONGEST_NAP = 1.0  # seconds between two looks


_own = threading.local()


class _Call:
    """A call under way, and the block of code that it is in."""

    __slots__ = ("limit", "others", "owner", "since")

    def __init__(self, limit: float, others: dict[int, _Call], owner: object) -> None:
        self.limit = limit
        self.owner = owner
        self.others = others  # single operations of dict are atomic
        self.since = time.monotonic()

    def __enter__(self) -> None:
        self.others[id(self)] = self
        _own.call = self

    def __exit__(self, *_: object) -> None:
        _own.call = None
        del self.others[id(self)]


def beat() -> float:
    """Say, in the middle of an operation of many calls, that the last one came back; returns when, in seconds."""
    now = time.monotonic()
    call: _Call | None = getattr(_own, "call", None)
    if call is not None:
        call.since = now
    return now


class Watch:
    """Looks after the calls into one module, from a thread of its own while there are listeners."""

    def __init__(self) -> None:
        self.is_hung = False
        self._calls: dict[int, _Call] = {}
        self._listeners: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._nap = _LONGEST_NAP

    def call(self, limit: float, owner: object = None) -> _Call:
        """Return the block of code that is in the module, no single call longer than `limit` seconds."""
        return _Call(limit, self._calls, owner)

    def listen(self, listener: Callable[[], None], limit: float) -> None:
        """Call `listener` once, from another thread, when a call hangs; `limit` is the shortest of its calls."""
        with self._lock:
            self._listeners.append(listener)
            self._nap = min(self._nap, limit / 4)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="hsm-watch", daemon=True)
                self._thread.start()

    def leave(self, listener: Callable[[], None]) -> None:
        """Tell `listener` nothing any more."""
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def has_waited(self, seconds: float, owner: object) -> bool:
        """Whether a call of this owner has been under way for longer than that."""
        if not self._calls:
            return False
        since = time.monotonic() - seconds
        return any(call.owner is owner and call.since < since for call in tuple(self._calls.values()))

    def _look(self) -> None:
        while True:
            time.sleep(self._nap)
            with self._lock:
                if not self._listeners:
                    self._thread = None
                    return
                if not self._is_overdue():
                    continue
                self.is_hung = True
                told, self._thread = tuple(self._listeners), None
            for listener in told:
                listener()
            return

    def _is_overdue(self) -> bool:
        now = time.monotonic()
        return any(now - call.since > call.limit for call in tuple(self._calls.values()))
