"""How soon may a lost device be tried again, and how often may the module be initialised?

Soon at first, because most losses are short; then less and less often, never in step with other processes, and
never more than a few initialisations a minute, however often the device comes and goes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

_MOST_DOUBLINGS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Times in seconds."""

    first: float = 0.25  # before the second attempt; the first is made at once
    longest: float = 15.0
    most_initialisations: int = 10  # within any period
    period: float = 60.0

    def delay(self, failures: int) -> float:
        """Return how long to wait after so many failed attempts in a row (from 1): half to all of the step."""
        step = min(self.longest, self.first * (1 << min(failures - 1, _MOST_DOUBLINGS)))
        return step * random.uniform(0.5, 1.0)  # noqa: S311  # it spreads load, it keeps no secret

    def wait(self, initialisations: Sequence[float], now: float) -> float:
        """Return how long the module must not be initialised again, given when it was; 0 if it may be."""
        if len(initialisations) < self.most_initialisations:
            return 0.0
        return max(0.0, initialisations[-self.most_initialisations] + self.period - now)
