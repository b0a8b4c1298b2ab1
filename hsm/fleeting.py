"""Which keys that are not on the token does the HSM hold just now, as session objects?

A key that is derived, or a public key that a row carries, is made when it is needed and kept while there is
room; the one that was not used for longest gives way. All of them live in the login's session, so every session
of the pool can use them, and die with it. Making and destroying needs the lock alone; so no two threads make the
same key, and none is destroyed while somebody uses it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pkcs11.exceptions import PKCS11Error

from hsm.faults import Fault, classify
from hsm.keys import FleetingRef, KeyRef

if TYPE_CHECKING:  # a connection has such a table
    from hsm.connection import Connection

T = TypeVar("T")
_MOST_DROPPED = 32  # dropped keys that one turn destroys: each is a round trip while nobody else is served


class NotHeld(Exception):  # it ends an attempt, and is no error
    """A key has to be made, which needs the lock alone, in a turn that shares it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of fleeting keys; all but the last two only grow, from the opening of the device."""

    hits: int = 0  # operations that found their key
    misses: int = 0  # and that did not
    made: int = 0  # keys made; fewer than misses, where several threads missed the same one
    evictions: int = 0  # keys destroyed to make room
    size: int = 0  # how many are held now
    most: int = 0  # and how many may be


class Counts:
    """The figures of one device, over all its connections; safe for threads."""

    def __init__(self, most: int) -> None:
        self.lock = threading.Lock()
        self.most = most
        self.hits = self.misses = self.made = self.evictions = self.size = 0

    def read(self) -> Figures:
        """Return them."""
        with self.lock:
            return Figures(
                hits=self.hits,
                misses=self.misses,
                made=self.made,
                evictions=self.evictions,
                size=self.size,
                most=self.most,
            )


class FleetingKeys:
    """The handles of one connection; a new connection begins without any."""

    def __init__(self, counts: Counts) -> None:
        self.masters: dict[int, KeyRef] = {}  # by version; looked for once
        self._counts = counts
        self._lock = counts.lock
        self._held: OrderedDict[FleetingRef, int] = OrderedDict()
        self._dropped: list[int] = []
        with self._lock:
            counts.size = 0

    def find(self, ref: FleetingRef) -> int | None:
        """Return the handle, and note that it was used; None if there is none. Counted."""
        with self._lock:
            handle = self._held.get(ref)
            if handle is None:
                self._counts.misses += 1
                return None
            self._counts.hits += 1
            self._held.move_to_end(ref)
            return handle

    def held(self, ref: FleetingRef) -> int | None:
        """Return the handle without counting: for whoever missed it a moment ago."""
        return self._held.get(ref)

    def missing(self, refs: Sequence[FleetingRef]) -> list[FleetingRef]:
        """Return those that are not held, each once. Counted."""
        with self._lock:
            found = [ref for ref in dict.fromkeys(refs) if ref not in self._held]
            self._counts.misses += len(found)
            return found

    def keep(self, ref: FleetingRef, handle: int) -> None:
        """Remember a key that was just made."""
        with self._lock:
            self._held[ref] = handle
            self._counts.made += 1
            self._counts.size = len(self._held)

    def drop(self, ref: FleetingRef, *, is_gone: bool = False) -> None:
        """Forget a key; unless it is gone, the next turn that has the lock alone destroys it."""
        with self._lock:
            handle = self._held.pop(ref, None)
            self._counts.size = len(self._held)
            if handle is not None and not is_gone:
                self._dropped.append(handle)

    def make_room(self) -> list[int]:
        """Forget what was not used for longest until one more fits; returns what is to be destroyed now."""
        with self._lock:
            doomed, self._dropped = self._dropped[:_MOST_DROPPED], self._dropped[_MOST_DROPPED:]
            while len(self._held) >= self._counts.most:
                doomed.append(self._held.popitem(last=False)[1])
                self._counts.evictions += 1
            self._counts.size = len(self._held)
            return doomed


def use(connection: Connection, ref: FleetingRef, operation: Callable[[int], T]) -> T | None:
    """Run `operation` on the handle of a key that is held; None if it is not. The caller shares the lock."""
    handle = connection.fleeting.find(ref)
    if handle is None:
        return None
    try:
        return operation(handle)
    except PKCS11Error as exc:
        if classify(exc) is not Fault.STALE_HANDLE:
            raise
    connection.fleeting.drop(ref, is_gone=True)  # some devices lose session objects and keep the session
    return None


def make(connection: Connection, ref: FleetingRef, create: Callable[[], int]) -> int:
    """Return the handle of a key, made by `create` unless another thread just did. The caller has the lock alone."""
    held = connection.fleeting.held(ref)
    if held is not None:
        return held
    for handle in connection.fleeting.make_room():
        destroy(connection, handle)
    made = create()
    connection.fleeting.keep(ref, made)
    return made


def destroy(connection: Connection, handle: int) -> None:
    """Destroy a session object, if it is still there. The caller has the lock alone."""
    direct = connection.module.direct
    assert direct is not None  # else it was not made
    with suppress(PKCS11Error):  # it ends with its session anyway
        direct.destroy(int(connection.login_session.handle), handle)  # type: ignore[attr-defined]
