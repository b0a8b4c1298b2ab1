"""How do requests that arrive together share one hop?

Whatever arrives while batches are under way makes up the next one. How long an item waits for others depends:

- One that comes alone starts its batch after some turns of the event loop.
- After a crowd, the first that come wait a moment for the others, and again as long as others come. Two halves of a
  crowd that take turns cost more CPU than all of it at once.
- One that is patient starts no batch for some time, but comes along with any other. By itself it would cost as much as
  a batch, and split a crowd.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway.scenarios.fair_share import Lines, nobodys, whose
from hsm.errors import DeviceUnavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOKS = 6  # turns of the event loop in which a request that was received gets here
_MOMENT_SECONDS = 0.001
_TICK_SECONDS = 0.001  # clocks and timers differ by less
_CROWD = 8  # items; fewer are better off together


@dataclass(frozen=True, slots=True)
class _Place(Generic[Item, Result]):
    """One that waits; ``due`` is when it starts a batch by itself, 0 for at once."""

    item: Item
    future: asyncio.Future[Result]
    due: float


class Room(Generic[Item, Result]):
    """Where items wait for the next batch.

    Args:
        work: does a whole batch, and returns a result or an exception for each item, in their order.
        most: most items of a batch.
        at_once: how many batches may be under way at a time; those that are free share a crowd.
        waiting_most: most items that may wait; what comes beyond that is refused at once. Half of them on behalf of
            one application: more of it waits outside.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        most: int,
        at_once: int = 1,
        waiting_most: int | None = None,
    ) -> None:
        self._work = work
        self._most = most
        self._at_once = at_once
        self._waiting_most = waiting_most
        self._lines = None if waiting_most is None else Lines(waiting_most // 2)
        self._waiting: list[_Place[Item, Result]] = []
        self._next: asyncio.Task[None] | None = None  # the batch that still lets in
        self._under_way: set[asyncio.Task[None]] = set()
        self._last = 0  # how many the last batch had of those who are in a hurry

    async def ask(self, item: Item, patience: float = 0.0) -> Result:
        """Return what came of the item, or raise it; what fails a batch as a whole is raised to each of it.

        Args:
            item: what is asked.
            patience: seconds for which it only comes along with others.

        Raises:
            hsm.errors.DeviceUnavailable: too many wait; one more would have its answer when nobody wants it.
        """
        asking = whose()
        if asking is None or self._lines is None:
            return await self._ask(item, patience)
        end = await self._lines.turn(asking)
        try:
            return await self._ask(item, patience)
        finally:
            end()

    async def _ask(self, item: Item, patience: float) -> Result:
        if self._waiting_most is not None and len(self._waiting) >= self._waiting_most:
            raise DeviceUnavailable("the device is busy: too much waits for it")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        place = _Place(item, future, loop.time() + patience if patience else 0.0)
        self._waiting.append(place)
        if patience:
            loop.call_later(patience + _TICK_SECONDS, self._start)
        else:
            self._start()
        try:
            return await future
        except asyncio.CancelledError:  # or going away would be a way to have more places than others
            self._waiting = [each for each in self._waiting if each is not place]
            raise

    def _start(self) -> None:
        if self._next is None and len(self._under_way) < self._at_once and self._is_due():
            self._next = asyncio.create_task(self._run(), context=nobodys())
            self._next.add_done_callback(self._ended)

    def _is_due(self) -> bool:
        now = asyncio.get_running_loop().time()
        return any(place.due <= now for place in self._waiting)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if task is self._next:  # the loop ended before it was
            self._next = None
        elif not task.cancelled():
            self._start()

    async def _run(self) -> None:
        await self._let_in()
        batch = self._take()
        assert self._next is not None
        self._under_way.add(self._next)
        self._next = None
        self._start()  # for the rest, if there is a rest and room for it
        results: Sequence[Result | Exception]
        try:
            results = await self._work([place.item for place in batch]) if batch else []
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to those who wait
            results = [error] * len(batch)
        for place, result in zip(batch, results, strict=True):
            _give(place.future, result)

    async def _let_in(self) -> None:
        """Let in whoever is at the door already, for as long as somebody comes and fewer are there than last time."""
        before = 0
        while before < self._hurried() < self._most:
            before = self._hurried()
            for _ in range(_LOOKS):
                await asyncio.sleep(0)
            if self._hurried() < min(self._last, self._most):
                await asyncio.sleep(_MOMENT_SECONDS)

    def _hurried(self) -> int:
        return sum(not place.due for place in self._waiting)

    def _take(self) -> list[_Place[Item, Result]]:
        free = self._at_once - len(self._under_way)
        parts = free if len(self._waiting) >= _CROWD else 1
        share = min(self._most, -(-len(self._waiting) // parts))  # rounded up
        batch, self._waiting = self._waiting[:share], self._waiting[share:]
        self._last = sum(not place.due for place in batch)
        return batch


def _give(future: asyncio.Future[Result], result: Result | Exception) -> None:
    if future.done():  # who asked went away
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
