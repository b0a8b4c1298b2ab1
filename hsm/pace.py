"""How soon may a lost device be tried again, and how often may the module be initialised?

Soon at first, because most losses are short; then less and less often, and never in step with other processes.
However often the device comes and goes, the module is initialised only a few times in a row, and then at even
intervals: a device that is back must not wait for the minute to be over.
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
    longest: float = 5.0
    most_initialisations: int = 10  # within a period; after that many, one each tenth of it
    period: float = 60.0

    def delay(self, failures: int) -> float:
        """Return how long to wait after so many failed attempts in a row (from 1): half to all of the step."""
        step = min(self.longest, self.first * (1 << min(failures - 1, _MOST_DOUBLINGS)))
        return step * random.uniform(0.5, 1.0)  # noqa: S311  # it spreads load, it keeps no secret

    def wait(self, initialisations: Sequence[float], now: float) -> float:
        """Return how long the module must not be initialised again, given when it was; 0 if it may be."""
        lately = [moment for moment in initialisations if moment > now - self.period]
        if len(lately) < self.most_initialisations:
            return 0.0
        return max(0.0, lately[-1] + self.period / self.most_initialisations - now)
