"""How do threads share the sessions of a token?

A fixed number of read-write sessions is opened once, without a PIN (the login of the process covers them, and
closing such a session logs nobody out). A session is used by one thread at a time and given back by the same
thread. One that failed in a way that may have left an operation open is put aside, and its place is filled
again at the next use. Sessions are closed only while nobody else is in the module.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pkcs11
from pkcs11.exceptions import PKCS11Error

from hsm.errors import DeviceUnavailable
from hsm.faults import Fault, classify
from hsm.templates import MAPPER

_HARMLESS = {Fault.CALLER, Fault.STALE_HANDLE}


def open_session(token: pkcs11.Token) -> pkcs11.Session:
    """Open a read-write session without a PIN."""
    return token.open(rw=True, attribute_mapper=MAPPER)


class SessionPool:
    """`size` sessions of one token, all of one epoch."""

    def __init__(self, token: pkcs11.Token, size: int) -> None:
        self.size = size
        self._token = token
        self._idle: queue.SimpleQueue[pkcs11.Session | None] = queue.SimpleQueue()
        self._broken: list[pkcs11.Session] = []
        for _ in range(size):
            self._idle.put(open_session(token))

    @contextmanager
    def borrow(self, wait_seconds: float) -> Iterator[pkcs11.Session]:
        """Lend a session. Raises DeviceUnavailable if none comes back in time."""
        session = self._take(wait_seconds)
        place: pkcs11.Session | None = session
        try:
            yield session
        except PKCS11Error as exc:
            if classify(exc) not in _HARMLESS:
                self._broken.append(session)
                place = None
            raise
        finally:
            self._idle.put(place)

    def close_broken(self) -> None:
        """Close what was put aside. The caller holds the lock alone."""
        while self._broken:
            _close(self._broken.pop())

    def drain(self, wait_seconds: float) -> None:
        """Take all sessions out of circulation, waiting for the lent ones. Call it without the lock."""
        with suppress(queue.Empty):  # one that hangs in the module for ever is left behind
            for _ in range(self.size):
                session = self._idle.get(timeout=wait_seconds)
                if session is not None:
                    self._broken.append(session)

    @property
    def has_broken(self) -> bool:
        """Whether sessions wait to be closed."""
        return bool(self._broken)

    @property
    def idle(self) -> int:
        """How many places are free at this moment."""
        return self._idle.qsize()

    def _take(self, wait_seconds: float) -> pkcs11.Session:
        try:
            session = self._idle.get(timeout=wait_seconds)
        except queue.Empty:
            raise DeviceUnavailable("the device is busy: no session within the time allowed") from None
        if session is not None:
            return session
        try:
            return open_session(self._token)
        except BaseException:
            self._idle.put(None)
            raise


def _close(session: pkcs11.Session) -> None:
    with suppress(PKCS11Error):  # a session that cannot be closed is gone already
        session.close()
