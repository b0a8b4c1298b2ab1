"""How do requests that arrive together share one hop?

Whatever arrives while batches are under way makes up the next one. Who comes alone waits for some turns of the event
loop; after a crowd, the first that come wait a moment for the others, and again as long as others come: two halves of
a crowd that take turns cost more CPU than all of it at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from hsm.errors import DeviceUnavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOKS = 6  # turns of the event loop in which a request that was received gets here
_MOMENT_SECONDS = 0.001
_CROWD = 8  # items; fewer are better off together


class Room(Generic[Item, Result]):
    """Where items wait for the next batch.

    Args:
        work: does a whole batch, and returns a result or an exception for each item, in their order.
        most: most items of a batch.
        at_once: how many batches may be under way at a time; those that are free share a crowd.
        waiting_most: most items that may wait; what comes beyond that is refused at once.
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
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._next: asyncio.Task[None] | None = None  # the batch that still lets in
        self._under_way: set[asyncio.Task[None]] = set()
        self._last = 0  # how many the last batch had

    async def ask(self, item: Item) -> Result:
        """Return what came of the item, or raise it; what fails a batch as a whole is raised to each of it.

        Raises:
            hsm.errors.DeviceUnavailable: too many wait; one more would have its answer when nobody wants it.
        """
        if self._waiting_most is not None and len(self._waiting) >= self._waiting_most:
            raise DeviceUnavailable("the device is busy: too much waits for it")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._start()
        return await future

    def _start(self) -> None:
        if self._waiting and self._next is None and len(self._under_way) < self._at_once:
            self._next = asyncio.create_task(self._run())
            self._next.add_done_callback(self._ended)

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
            results = await self._work([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to those who wait
            results = [error] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            _give(future, result)

    async def _let_in(self) -> None:
        """Let in whoever is at the door already, for as long as somebody comes and fewer are there than last time."""
        before = 0
        while before < len(self._waiting) < self._most:
            before = len(self._waiting)
            for _ in range(_LOOKS):
                await asyncio.sleep(0)
            if len(self._waiting) < min(self._last, self._most):
                await asyncio.sleep(_MOMENT_SECONDS)

    def _take(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        free = self._at_once - len(self._under_way)
        parts = free if len(self._waiting) >= _CROWD else 1
        share = min(self._most, -(-len(self._waiting) // parts))  # rounded up
        batch, self._waiting = self._waiting[:share], self._waiting[share:]
        self._last = len(batch)
        return batch


def _give(future: asyncio.Future[Result], result: Result | Exception) -> None:
    if future.done():  # who asked went away
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
