"""How does a caller do many things in one turn at the device?

Waiting for a turn, taking the lock and lending a session cost about as much as a MAC, so whoever has many keys to
use does it in one turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from pkcs11 import Session

from hsm.connection import Connection
from hsm.counting import Tally
from hsm.fleeting import NotHeld
from hsm.watch import beat

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Turn:
    """One caller's turn, for operations that only use keys; none of them waits for anything again."""

    connection: Connection
    session: Session
    is_alone: bool = False  # with the lock: then keys can be made as well
    took: list[tuple[str, float]] = field(default_factory=list)  # kind and seconds of each that ended well

    def use(self, operation: Callable[[Connection, Session], T], kind: str = "other") -> T:
        """Run an operation here and now. What the module says to it is for the guard, and ends the turn."""
        began = time.monotonic()
        result = operation(self.connection, self.session)
        self.took.append((kind, beat() - began))
        return result

    def make(self, operation: Callable[[Connection, Session], T]) -> T:
        """Run an operation that makes a key to use. Raises NotHeld if others are in the module."""
        if not self.is_alone:
            raise NotHeld
        return self.use(operation, "make")


def one_turn(
    work: Callable[[Turn], T], tally: Tally, *, is_alone: bool = False
) -> Callable[[Connection, Session], T]:
    """Return the operation that is all of this work, and counts what was done of it."""

    def run(connection: Connection, session: Session) -> T:
        turn = Turn(connection, session, is_alone)
        try:
            return work(turn)
        finally:
            tally.note_all(turn.took)

    return run
