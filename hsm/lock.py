"""Who may be in the module at the same time: many users of keys, or one that changes what is stored.

SoftHSM 2.6.1 loses objects and answers wrongly when an object is created while another thread looks for one,
even with OS locking, and users of keys look as well (they notice changed files). So finding, signing and
verifying share the lock, and everything that creates, copies, changes or destroys objects has it alone.
A waiting writer goes before users who come later: otherwise a busy gateway would never enrol anybody. Users who waited
for one writer go before the next: otherwise nobody would confirm while many are enrolled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hsm.errors import DeviceUnavailable


class ReadWriteLock:
    """A lock within one process in which neither writers nor users keep the other waiting for long. Not reentrant."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._sharing = 0
        self._writing = False
        self._writers_waiting = 0
        self._users_waiting = 0
        self._owed = 0  # users who waited for the last writer and go before the next
        self._written = 0  # how many writers have been
        self._broken: str | None = None

    def turn_away(self, why: str) -> None:
        """Tell everybody who waits, and who comes later, that a holder will never give the lock back."""
        with self._changed:
            self._broken = why
            self._changed.notify_all()

    @contextmanager
    def shared(self, wait_seconds: float) -> Iterator[None]:
        """Hold the lock together with others. Raises DeviceUnavailable if it is not free in time."""
        with self._changed:
            self._wait_to_share(wait_seconds)
            self._sharing += 1
        try:
            yield
        finally:
            with self._changed:
                self._sharing -= 1
                if not self._sharing:
                    self._changed.notify_all()

    @contextmanager
    def exclusive(self, wait_seconds: float) -> Iterator[None]:
        """Hold the lock alone. Raises DeviceUnavailable if it is not free in time."""
        with self._changed:
            self._writers_waiting += 1
            try:
                self._wait(self._may_write, wait_seconds)
                self._writing = True
            finally:
                self._writers_waiting -= 1
                self._changed.notify_all()  # a writer that gave up no longer keeps readers out
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._written += 1
                self._owed = self._users_waiting
                self._changed.notify_all()

    def _wait_to_share(self, wait_seconds: float) -> None:
        written = self._written

        def may_share() -> bool:
            return not self._writing and (not self._writers_waiting or self._written != written)

        self._users_waiting += 1
        try:
            self._wait(may_share, wait_seconds)
        finally:
            self._users_waiting -= 1
            if self._written != written:
                self._owed -= 1
                self._changed.notify_all()  # one that gave up no longer keeps a writer out

    def _may_write(self) -> bool:
        return not self._writing and not self._sharing and not self._owed

    def _wait(self, ready: Callable[[], bool], wait_seconds: float) -> None:
        if self._broken is None and ready():
            return
        is_ready = self._changed.wait_for(lambda: self._broken is not None or ready(), wait_seconds)
        if self._broken is not None:
            raise DeviceUnavailable(self._broken)
        if not is_ready:
            raise DeviceUnavailable("the device is busy: no turn within the time allowed")
