"""How is an operation tried, and what is done when the module says no?

Each operation waits for its turn, takes the lock, and runs in a session. If it fails, the class of the fault decides:

- The caller's fault is reported at once.
- A broken session or a stale handle is replaced, and the operation tried a second and last time.
- Where the return code proves nothing, the canary is asked first, so that nobody can make us repair anything by
  sending malformed input. If the canary is silent, the device is recovered.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, TypeVar

from pkcs11 import Session
from pkcs11.exceptions import PKCS11Error

from hsm.connection import Connection
from hsm.counting import Snapshot, Tally
from hsm.errors import DeviceError, DeviceRefused, DeviceUnavailable, KeyMissing, PinRejected, StartupError
from hsm.faults import Fault, classify, named, outage
from hsm.gate import Deadline, Gate
from hsm.handles import NotFound
from hsm.limits import Limits
from hsm.module import Module
from hsm.recovery import Recovery, TooSoon
from hsm.turn import Turn, one_turn
from hsm.wrapping import NotUndone

T = TypeVar("T")
Operation = Callable[[Connection, Session], T]
_Lock = Callable[[float], AbstractContextManager[None]]

_WORTH_ANOTHER = {Fault.SESSION, Fault.STALE_HANDLE}  # another session, a fresh handle: may well succeed
_LARGE_TABLE = 50  # handles; with more, one sweep is cheaper than as many searches
_HUNG = "a call into the module does not come back; the process has to end"


class _Outdated(Exception):
    """Another device of this process has initialised the module again."""


_MEANINGFUL = (PKCS11Error, NotFound, NotUndone, _Outdated)


@dataclass(slots=True)
class _Call(Generic[T]):
    """One operation under way, and the connection that it ran on last."""

    operation: Operation[T]
    lock: _Lock
    deadline: Deadline
    connection: Connection | None = None


class Guard:
    """Runs operations on the current connection and has it replaced when it is lost."""

    def __init__(
        self,
        module: Module,
        connect: Callable[[], Connection],
        limits: Limits,
        on_hung: Callable[[], None] | None = None,
        *,
        alone: bool = False,
    ) -> None:
        self.module = module
        self.limits = limits
        self.is_hung = False
        self._connect = connect
        self._on_hung = on_hung
        self._gate = Gate(limits.sessions, limits.most_waiting)
        self._canary_gate = Gate(1, limits.sessions)
        self._tally = Tally()
        self._reinitialisations = 0
        self.recovery = Recovery(self._attempt, limits.pace, self._turn_away, limits.lost_seconds)
        self._connection: Connection | None = None
        if alone:
            module.watch.listen(self._hung, limits.call_seconds)
        try:
            with module.lock.exclusive(limits.wait_seconds), self._watched():
                self._connection = self._connected()
        except BaseException:
            module.watch.leave(self._hung)
            raise
        if not alone:  # others may serve: only now does the process depend on it
            module.watch.listen(self._hung, limits.call_seconds)

    def use(self, operation: Operation[T], kind: str = "other") -> T:
        """Run an operation that only uses or finds keys, together with others."""
        return self._run(operation, self.module.sharing, kind)

    def use_together(self, work: Callable[[Turn], T]) -> T:
        """Run work of many uses in one turn and one session; a fault in any of them begins all of it anew."""
        return self._run(one_turn(work, self._tally), self.module.sharing, "turn")

    def change_together(self, work: Callable[[Turn], T]) -> T:
        """Run such work alone, so that it can make the keys that are not held."""
        return self._run(one_turn(work, self._tally, is_alone=True), self.module.lock.exclusive, "turn")

    def make(self, operation: Operation[T]) -> T:
        """Run an operation that makes a session object to use; nobody else is in the module meanwhile."""
        return self._run(operation, self.module.lock.exclusive, "make")

    def change(self, operation: Operation[T], kind: str = "other") -> T:
        """Run an operation that creates or destroys objects, alone. If it fails, it undoes what it did."""
        return self._run(operation, self.module.lock.exclusive, kind)

    def close(self) -> None:
        """Stop for good; closes all sessions."""
        self.module.watch.leave(self._hung)
        self.recovery.stop("the device was closed")
        if self.is_hung:
            return  # a call is in the module for ever: nobody can be alone in it, and the process ends anyway
        with self.module.lock.exclusive(self.limits.wait_seconds):
            self._disconnect()

    def snapshot(self) -> Snapshot:
        """Return the figures of this moment."""
        operations, latencies = self._tally.read()
        return Snapshot(
            operations=operations,
            latencies=latencies,
            sessions=self._gate.places,
            in_use=self._gate.inside,
            waiting=self._gate.waiting,
            most_waiting=self._gate.most_waiting,
            epoch=self.module.epoch,
            reinitialisations=self._reinitialisations,
            recoveries=self.recovery.recovered,
            failed_attempts=self.recovery.failed_attempts,
            state="hung" if self.is_hung else str(self.recovery.state),
            seconds_to_next_attempt=self.recovery.seconds_to_next_attempt,
        )

    def _run(self, operation: Operation[T], lock: _Lock, kind: str) -> T:
        self.module.check_process()
        began = time.perf_counter()
        error: BaseException | None = None
        try:
            self.recovery.require_reachable()
            call = _Call(operation, lock, Deadline(self.limits.wait_seconds))
            self._gate.enter(call.deadline)
            try:
                return self._try_twice(call)
            finally:
                self._gate.leave()
        except BaseException as exc:
            error = exc
            raise
        finally:
            self._tally.note(kind, error, time.perf_counter() - began)

    def _try_twice(self, call: _Call[T]) -> T:
        try:
            return self._once(call, fresh=False)
        except _MEANINGFUL as exc:
            self._repair(exc, call)
        try:
            return self._once(call, fresh=True)
        except _MEANINGFUL as exc:
            raise self._final(exc, call) from exc

    def _once(self, call: _Call[T], *, fresh: bool) -> T:
        while True:
            self.recovery.wait(call.deadline)
            with call.lock(call.deadline.left):
                connection = call.connection = self._connection
                if connection is None:  # it was lost while we waited for the lock
                    continue
                if not connection.is_current:
                    raise _Outdated
                # After a failure the session is a fresh one: what broke one may have broken all of them.
                with connection.pool.place(fresh=fresh) as place, self._watched():
                    return call.operation(connection, place.session())

    def _repair(self, exc: Exception, call: _Call[T]) -> None:
        """Return when a second attempt is sensible, else raise the answer."""
        fault = _fault_of(exc)
        if fault is Fault.CALLER:
            raise self._final(exc, call) from exc
        if not self._was_well(call, exc):
            if isinstance(exc, NotUndone):  # a second attempt could make what is there a second time
                raise outage(exc) from exc
            return
        self._close_broken(call)
        if fault not in _WORTH_ANOTHER or isinstance(exc, NotUndone):
            raise self._final(exc, call) from exc

    def _final(self, exc: Exception, call: _Call[T]) -> DeviceError:
        fault = _fault_of(exc)
        if fault is Fault.CALLER:
            return DeviceRefused(f"the module refused the input ({named(exc)})")
        if not self._was_well(call, exc):
            return outage(exc)
        if isinstance(exc, NotFound):
            return KeyMissing(f"no such key on the token: {exc}")
        if fault in (Fault.DEVICE, Fault.AMBIGUOUS) and not isinstance(exc, NotUndone):
            return DeviceRefused(f"the module refused the input, the device is well ({named(exc)})")
        return outage(exc)

    def _was_well(self, call: _Call[T], exc: Exception) -> bool:
        """Whether the connection that failed is still in use and alive; if it is silent, have it replaced.

        Where something was not found, or could not be made, the module must also show its token still.
        """
        must_show = isinstance(exc, NotFound) or call.lock == self.module.lock.exclusive
        with self._canary_gate.turn(call.deadline), self.module.sharing(call.deadline.left):
            if call.connection is None or call.connection is not self._connection:
                return False
            with self._watched():
                is_alive = call.connection.is_alive() and (not must_show or call.connection.is_shown())
        if not is_alive:
            self.recovery.begin()
        return is_alive

    def _close_broken(self, call: _Call[T]) -> None:
        if call.connection is not None and call.connection.pool.has_broken:
            with self.module.lock.exclusive(call.deadline.left), self._watched():
                if call.connection is self._connection:
                    call.connection.pool.close_broken()

    def _watched(self) -> AbstractContextManager[None]:
        return self.module.watch.call(self.limits.call_seconds, self)

    def _turn_away(self, refusal: DeviceUnavailable) -> None:
        self._gate.turn_away(refusal)
        self._canary_gate.turn_away(refusal)

    def _hung(self) -> None:
        self.is_hung = True
        self.module.lock.turn_away(_HUNG)
        self.recovery.stop(_HUNG)
        if self._on_hung is not None:
            self._on_hung()

    def _attempt(self) -> None:
        """Make the device usable again. Raises DeviceError. Runs in the thread of the recovery."""
        with self.module.lock.exclusive(self.limits.wait_seconds), self._watched():
            if self._connection is not None and self._connection.is_alive() and self._connection.is_shown():
                return
            known = 0 if self._connection is None else len(self._connection.handles)
            self._disconnect()
            self._connection = self._reconnected()
            if known > _LARGE_TABLE:
                self._connection.sweep()

    def _reconnected(self) -> Connection:
        """Log in again, and if that is not enough initialise the module first."""
        try:
            return self._connected()
        except PinRejected:
            raise
        except (DeviceUnavailable, StartupError):
            seconds = self.module.seconds_to_reinitialisation(self.limits.pace)
            if seconds:
                raise TooSoon(seconds) from None
        self._reinitialisations += 1
        self.module.reinitialize()
        return self._connected()

    def _connected(self) -> Connection:
        try:
            return self._connect()
        except PKCS11Error as exc:
            raise outage(exc) from exc

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _fault_of(exc: Exception) -> Fault | None:
    cause = exc.__cause__ if isinstance(exc, NotUndone) else exc
    return classify(cause) if isinstance(cause, PKCS11Error) else None
