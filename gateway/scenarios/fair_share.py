"""How much may one application have under way at a time, however much it asks for?

A share of the database's connections, of the room at the device, and of the places in which batches are waited for.
What it asks for beyond that waits in a line of its own, so that who asks for a thousand things at once keeps nobody
waiting but itself. What belongs to nobody in particular (phones, the worker, a batch of several askers) has no share
and waits for no line.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

_asking: ContextVar[str | None] = ContextVar("asking_application", default=None)


@contextmanager
def on_behalf_of(application_id: str) -> Iterator[None]:
    """Have all that is asked for in this block count as the application's."""
    token = _asking.set(application_id)
    try:
        yield
    finally:
        _asking.reset(token)


def whose() -> str | None:
    """Return on whose behalf this is asked for; None: nobody's in particular."""
    return _asking.get()


def nobodys() -> Context:
    """Return what a task begins with that one asker starts and that works for others as well."""
    return Context()


@dataclass(slots=True)
class _Line:
    """Turns that are free, and how many have one or wait for one."""

    turns: asyncio.Semaphore
    users: int = 0


class Lines:
    """A line for each name, in which so many have their turn at a time and the others wait for theirs.

    Args:
        most: turns of a name, at least 1.
    """

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self._lines: dict[str, _Line] = {}

    async def turn(self, name: str) -> Callable[[], None]:
        """Wait for a turn and return what ends it; to be called once, on the event loop."""
        line = self._lines.setdefault(name, _Line(asyncio.Semaphore(self._most)))
        line.users += 1
        try:
            await line.turns.acquire()
        except BaseException:
            self._leave(name, line)
            raise

        def end() -> None:
            line.turns.release()
            self._leave(name, line)

        return end

    def _leave(self, name: str, line: _Line) -> None:
        line.users -= 1
        if not line.users:
            self._lines.pop(name, None)


class FairShare:
    """The shares of one kind of threads.

    Args:
        threads: where the work is done.
        most: pieces of work of one application that may be under way, at least 1.
    """

    def __init__(self, threads: Executor, most: int) -> None:
        self._threads, self._lines = threads, Lines(most)

    async def run(self, work: Callable[[], T]) -> T:
        """Run work in a thread, as soon as it is the asker's turn."""
        loop, asking = asyncio.get_running_loop(), whose()
        if asking is None:
            return await loop.run_in_executor(self._threads, work)
        end = await self._lines.turn(asking)
        try:
            running = self._threads.submit(work)
        except BaseException:
            end()
            raise

        def ended(_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(end)

        # Of who goes away while it runs, the turn ends with the work, or going away would be a way to have more.
        running.add_done_callback(ended)
        return await asyncio.wrap_future(running)
