"""Has a call into the module not come back?

A call that hangs in C can neither be stopped nor be waited for with a time limit. It can only be noticed, from
another thread; then the module is given up and the process has to end, because finalising the module would hang
as well. What ends the process is not this package's business: it tells its listeners, once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LONGEST_NAP = 1.0  # seconds between two looks


class _Call:
    __slots__ = ("limit", "since")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.since = time.monotonic()


_own = threading.local()


def beat() -> None:
    """Say, in the middle of an operation of many calls, that the last one came back."""
    call: _Call | None = getattr(_own, "call", None)
    if call is not None:
        call.since = time.monotonic()


class Watch:
    """Looks after the calls into one module, from a thread of its own while there are listeners."""

    def __init__(self) -> None:
        self.is_hung = False
        self._calls: dict[int, _Call] = {}  # changed by single operations of dict, which are atomic
        self._listeners: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._nap = _LONGEST_NAP

    @contextmanager
    def call(self, limit: float) -> Iterator[None]:
        """Be in the module, no single call longer than `limit` seconds."""
        call = _Call(limit)
        self._calls[id(call)] = call
        _own.call = call
        try:
            yield
        finally:
            _own.call = None
            del self._calls[id(call)]

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
