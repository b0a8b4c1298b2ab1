"""How is an operation tried, and what is done when the module says no?

Each operation takes a session, then the lock, and runs. If it fails, the class of the fault decides: the
caller's fault is reported at once; a broken session, a stale handle or a lost login is repaired and the
operation tried a second and last time; and where the return code proves nothing, the canary is asked first,
so that nobody can make us repair anything by sending malformed input.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from pkcs11 import Session
from pkcs11.exceptions import PKCS11Error

from hsm.connection import Connection
from hsm.errors import DeviceError, DeviceRefused, DeviceUnavailable, KeyMissing, PinRejected, StartupError
from hsm.faults import Fault, classify, rv_of
from hsm.handles import NotFound
from hsm.module import Module

T = TypeVar("T")
Operation = Callable[[Connection, Session], T]
_Lock = Callable[[float], AbstractContextManager[None]]

_OUTAGE_SECONDS = 5
_WORTH_ANOTHER = {Fault.SESSION, Fault.STALE_HANDLE}  # another session, a fresh handle: may well succeed


class _Superseded(Exception):
    """The connection was replaced while the operation waited for its turn."""


class _Outdated(Exception):
    """Another device of this process has initialised the module again."""


class Guard:
    """Runs operations on the current connection and replaces it when the login is lost."""

    def __init__(self, module: Module, connect: Callable[[], Connection], wait_seconds: float) -> None:
        self.module = module
        self.wait_seconds = wait_seconds
        self._connect = connect
        self._renewing = threading.Lock()
        self._stopped: str | None = None
        with module.lock.exclusive(wait_seconds):
            self._connection = self._connected()

    def use(self, operation: Operation[T]) -> T:
        """Run an operation that only uses or finds keys, together with others."""
        return self._run(operation, self.module.lock.shared)

    def change(self, operation: Operation[T]) -> T:
        """Run an operation that creates or destroys objects, alone. If it fails, it undoes what it did."""
        return self._run(operation, self.module.lock.exclusive)

    def close(self) -> None:
        """Stop for good; closes all sessions."""
        self._stopped = "the device was closed"
        self._connection.retire(self.wait_seconds)

    def renew(self, old: Connection | None = None, *, reinitialize: bool = False) -> None:
        """Replace the connection `old` (the current one, if not given) unless somebody did so already."""
        with self._renewing:
            previous = self._connection
            if old is not None and old is not previous:
                return
            with self.module.lock.exclusive(self.wait_seconds):
                previous.close_idle()
                if reinitialize:
                    self.module.reinitialize()
                self._connection = self._reconnected()
            previous.retire(self.wait_seconds)

    def _connected(self) -> Connection:
        try:
            return self._connect()
        except PKCS11Error as exc:
            raise _outage(exc) from exc

    def _reconnected(self) -> Connection:
        try:
            return self._connected()
        except PinRejected as exc:
            self._stopped = str(exc)
            raise DeviceUnavailable(self._stopped, retry_after_seconds=_OUTAGE_SECONDS) from exc
        except StartupError as exc:
            raise DeviceUnavailable(str(exc), retry_after_seconds=_OUTAGE_SECONDS) from exc

    def _run(self, operation: Operation[T], lock: _Lock) -> T:
        self.module.check_process()
        failed_before = False
        while True:
            connection = self._connection
            try:
                return self._once(connection, operation, lock, fresh=failed_before)
            except _Superseded:
                continue  # nothing was tried yet
            except (PKCS11Error, NotFound, _Outdated) as exc:
                if failed_before:
                    raise self._final(exc) from exc
                self._repair(connection, exc)
                failed_before = True

    def _once(self, connection: Connection, operation: Operation[T], lock: _Lock, *, fresh: bool) -> T:
        self._require_running()
        with connection.pool.borrow(self.wait_seconds) as place, lock(self.wait_seconds):
            self._require_running()
            if connection is not self._connection:
                raise _Superseded
            if not connection.is_current:
                raise _Outdated
            if fresh:  # whatever broke one session may have broken all of them
                connection.pool.put_aside(place)
            return operation(connection, place.session())

    def _repair(self, connection: Connection, exc: Exception) -> None:
        """Return when a second attempt is sensible, else raise the answer."""
        fault = _fault_of(exc)
        if fault is Fault.CALLER:
            raise self._final(exc) from exc
        if not self._is_alive(connection):
            self.renew(connection)
            return
        self._close_broken(connection)
        if fault not in _WORTH_ANOTHER:
            raise self._final(exc) from exc

    def _final(self, exc: Exception) -> DeviceError:
        fault = _fault_of(exc)
        if fault is Fault.CALLER:
            return DeviceRefused(f"the module refused the input ({_named(exc)})")
        if not self._is_alive(self._connection):
            return _outage(exc)
        if isinstance(exc, NotFound):
            return KeyMissing(f"no such key on the token: {exc}")
        if fault in (Fault.DEVICE, Fault.AMBIGUOUS):
            return DeviceRefused(f"the module refused the input, the device is well ({_named(exc)})")
        return _outage(exc)

    def _require_running(self) -> None:
        if self._stopped:
            raise DeviceUnavailable(self._stopped, retry_after_seconds=_OUTAGE_SECONDS)

    def _is_alive(self, connection: Connection) -> bool:
        with self.module.lock.shared(self.wait_seconds):
            return connection.is_alive()

    def _close_broken(self, connection: Connection) -> None:
        if connection.pool.has_broken:
            with self.module.lock.exclusive(self.wait_seconds):
                connection.pool.close_broken()


def _fault_of(exc: Exception) -> Fault | None:
    return classify(exc) if isinstance(exc, PKCS11Error) else None


def _named(exc: Exception) -> str:
    rv = rv_of(exc) if isinstance(exc, PKCS11Error) else None
    return type(exc).__name__ if rv is None else f"{type(exc).__name__}, 0x{rv:x}"


def _outage(exc: Exception) -> DeviceUnavailable:
    return DeviceUnavailable(
        f"the device does not answer ({_named(exc)})", retry_after_seconds=_OUTAGE_SECONDS
    )
