"""What has the device done so far, in figures?

Counted where it happens, read as one plain snapshot; whoever publishes metrics turns it into theirs.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hsm.errors import DeviceRefused, DeviceUnavailable, KeyMissing
from hsm.fleeting import Figures, NotHeld

_WELL = "ok"
STATES = ("well", "recovering", "away", "stopped", "hung")

# Upper ends in seconds; what took longer is only in the count.
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one kind of operation: `within[i]` of `count` took at most `BOUNDS[i]` seconds, all of them `seconds`."""

    count: int
    seconds: float
    within: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The device at one moment. What only grows is counted from the opening of the device."""

    operations: Mapping[tuple[str, str], int]  # by kind (mac, sign, issue...) and outcome
    latencies: Mapping[str, Latency]  # by kind, from the call to the answer, waiting included
    sessions: int  # how many callers may be in the module at a time
    in_use: int  # how many are now
    waiting: int  # how many wait for their turn
    most_waiting: int  # and how many may
    epoch: int  # how often the module was initialised again, by anybody in this process
    reinitialisations: int  # and how often by this device's recovery
    recoveries: int
    failed_attempts: int
    state: str  # one of STATES
    seconds_to_next_attempt: float
    fleeting: Figures = field(default_factory=Figures)  # keys that are not on the token


class _Timing:
    __slots__ = ("seconds", "steps")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.steps = [0] * (len(BOUNDS) + 1)

    def add(self, seconds: float) -> None:
        self.seconds += seconds
        self.steps[bisect_left(BOUNDS, seconds)] += 1

    def latency(self) -> Latency:
        within, total = [], 0
        for count in self.steps:
            total += count
            within.append(total)
        return Latency(total, self.seconds, tuple(within[:-1]))


class Tally:
    """Counts operations; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._operations: Counter[tuple[str, str]] = Counter()
        self._timings: defaultdict[str, _Timing] = defaultdict(_Timing)

    def note(self, kind: str, error: BaseException | None, seconds: float) -> None:
        """Count one operation that ended with `error`, or well."""
        with self._lock:
            self._operations[kind, _outcome(error)] += 1
            self._timings[kind].add(seconds)

    def note_all(self, took: Iterable[tuple[str, float]]) -> None:
        """Count operations that ended well, each by its kind and its seconds."""
        with self._lock:
            for kind, seconds in took:
                self._operations[kind, _WELL] += 1
                self._timings[kind].add(seconds)

    def read(self) -> tuple[dict[tuple[str, str], int], dict[str, Latency]]:
        """Return operations by kind and outcome, and latencies by kind."""
        with self._lock:
            timings = {kind: timing.latency() for kind, timing in self._timings.items()}
            return dict(self._operations), timings


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return _WELL
    if isinstance(error, NotHeld):
        return "again"
    if isinstance(error, DeviceUnavailable):
        return "unavailable"
    if isinstance(error, DeviceRefused):
        return "refused"
    return "missing" if isinstance(error, KeyMissing) else "failed"
