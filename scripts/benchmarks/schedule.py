"""How does a server fare when requests come at their own times, whether or not earlier ones were answered?

A request's time counts from the moment at which it was due, so one that had to wait for a connection waited in earnest.
"""

import asyncio
import gc
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.benchmarks.load import Answer, Line

_ANSWER_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Due:
    """One request: when, in seconds from the start, to which port, and its bytes."""

    at: float
    port: int
    number: int
    wire: bytes


def run_schedule(plan: Sequence[Due], connections: int) -> list[Answer]:
    """Send everything when it is due, over so many connections to each port. Raises OSError, TimeoutError."""
    gc.collect()
    gc.disable()
    try:
        return asyncio.run(_run(plan, connections))
    finally:
        gc.enable()


class _Pool:
    """The connections to one port, and what waits for one of them.

    They take turns: one that rested for a minute would be closed by the server.
    """

    def __init__(self) -> None:
        self.waiting: deque[tuple[Due, float]] = deque()
        self.idle: deque[_Parked] = deque()

    def send(self, due: Due) -> None:
        self.waiting.append((due, time.perf_counter()))
        if self.idle:
            self.idle.popleft().send_next()


class _Parked(Line):
    """A connection that takes what waits, and is parked when nothing does."""

    def __init__(self, port: int, pool: _Pool, answers: list[Answer]) -> None:
        super().__init__(port, iter(()), answers)
        self._pool = pool

    def send_next(self) -> None:
        if not self._pool.waiting:
            self._pool.idle.append(self)
            return
        due, since = self._pool.waiting.popleft()
        self.send(due.number, due.wire, since)


async def _run(plan: Sequence[Due], connections: int) -> list[Answer]:
    answers: list[Answer] = []
    pools = {port: _Pool() for port in {due.port for due in plan}}
    lines = [_Parked(port, pool, answers) for port, pool in pools.items() for _ in range(connections)]
    for line in lines:
        await line.connect()
        line.send_next()
    started = time.perf_counter()
    for due in plan:
        if (left := started + due.at - time.perf_counter()) > 0:
            await asyncio.sleep(left)
        pools[due.port].send(due)
    await _until_answered(lines, answers, len(plan))
    for line in lines:
        line.close()
    return answers


async def _until_answered(lines: Sequence[Line], answers: Sequence[Answer], count: int) -> None:
    deadline = time.perf_counter() + _ANSWER_SECONDS
    while len(answers) < count:
        for line in lines:
            if line.ended.done():
                line.ended.result()  # raises what ended it
        if time.perf_counter() > deadline:
            raise TimeoutError(f"{count - len(answers)} requests without an answer")
        await asyncio.sleep(0.01)
