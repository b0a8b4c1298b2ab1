"""How do threads share the sessions of a token?

A fixed number of read-write sessions is opened once, without a PIN (the login of the process covers them, and
closing such a session logs nobody out). A session is used by one thread at a time and given back by the same
thread. One that failed in a way that may have left an operation open is put aside, and its place is filled
again at the next use. Sessions are closed only while nobody else is in the module.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pkcs11
from pkcs11.exceptions import PKCS11Error

from hsm.faults import Fault, classify
from hsm.templates import MAPPER
from hsm.watch import beat

_HARMLESS = {Fault.CALLER, Fault.STALE_HANDLE}


def open_session(token: pkcs11.Token) -> pkcs11.Session:
    """Open a read-write session without a PIN."""
    return token.open(rw=True, attribute_mapper=MAPPER)


class Place:
    """One place of the pool: a session, or none yet because the last one was put aside."""

    def __init__(self, token: pkcs11.Token) -> None:
        self._token = token
        self._session: pkcs11.Session | None = None

    def session(self) -> pkcs11.Session:
        """Return the session, opening one if there is none. The caller holds the lock."""
        if self._session is None:
            self._session = open_session(self._token)
        return self._session

    def take_out(self) -> list[pkcs11.Session]:
        """Empty the place; returns what was in it."""
        session, self._session = self._session, None
        return [] if session is None else [session]


class SessionPool:
    """`size` sessions of one token, all of one epoch. The caller of the constructor holds the lock alone."""

    def __init__(self, token: pkcs11.Token, size: int) -> None:
        self.size = size
        self._idle: deque[Place] = deque()  # append and popleft are atomic
        self._broken: list[pkcs11.Session] = []
        try:
            for _ in range(size):
                place = Place(token)
                self._idle.append(place)
                place.session()
                beat()
        except PKCS11Error:
            self.close()
            raise

    @contextmanager
    def place(self, *, fresh: bool = False) -> Iterator[Place]:
        """Lend a place, in turn, so that none lies idle until a firewall forgets it; `fresh`: a new session.

        There is always one: the gate lets in no more callers than there are places.
        """
        place = self._idle.popleft()
        try:
            if fresh:
                self._put_aside(place)
            yield place
        except PKCS11Error as exc:
            if classify(exc) not in _HARMLESS:
                self._put_aside(place)
            raise
        finally:
            self._idle.append(place)

    def close_broken(self) -> None:
        """Close what was put aside. The caller holds the lock alone."""
        while self._broken:
            with suppress(PKCS11Error):  # a session that cannot be closed is gone already
                self._broken.pop().close()

    def close(self) -> None:
        """Close every session; the places stay. The caller holds the lock alone, so none is lent out."""
        for place in self._idle:
            self._broken += place.take_out()
        self.close_broken()

    @property
    def has_broken(self) -> bool:
        """Whether sessions wait to be closed."""
        return bool(self._broken)

    @property
    def idle(self) -> int:
        """How many places are free at this moment."""
        return len(self._idle)

    def _put_aside(self, place: Place) -> None:
        """Empty a lent place, so that a new session is opened in it."""
        self._broken += place.take_out()
