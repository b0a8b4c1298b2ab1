"""How much may callers ask of the device at a time, and how long may it take?"""

from __future__ import annotations

from dataclasses import dataclass, field

from hsm.pace import Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Numbers of callers, and times in seconds."""

    sessions: int = 16  # callers in the module at a time
    most_waiting: int = 64  # callers that may wait for their turn
    wait_seconds: float = 5.0  # how long each waits, for everything it has to wait for together
    lost_seconds: float | None = None  # how long of these for a device that was lost; None: all of it
    call_seconds: float = 30.0  # a single call that takes longer hangs
    most_fleeting: int = 6_000  # keys that are not on the token, held at a time
    pace: Pace = field(default_factory=Pace)
