"""What is there to tell of one of several tokens, at one moment?"""

from __future__ import annotations

from dataclasses import dataclass

from hsm.counting import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One token of the list, by its place in it, from 1."""

    number: int
    label: str
    state: str  # one of counting.STATES; `away` also for one that could not be opened yet
    why: str = ""  # it could not be opened, if that is so
    serves: bool  # it is the first that may: everything is asked of it
    # The gateway's own keys that it lacks, or has with another value: it may not serve.
    differences: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()  # new ones that it does not have yet: nobody uses them until it has
    # Keys of users that were asked of it, or should be on it by now, and that only another token has.
    strays: int = 0
    shot: Snapshot | None = None  # None: it was never opened
