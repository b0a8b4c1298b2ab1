"""How do requests that arrive together share one hop?

Whatever arrives while a batch is under way makes up the next one: no timers, and nobody who comes alone waits.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Room(Generic[Item, Result]):
    """Where items wait for the next batch.

    Args:
        work: does a whole batch, and returns a result or an exception for each item, in their order.
        most: most items of a batch.
    """

    def __init__(
        self, work: Callable[[list[Item]], Awaitable[Sequence[Result | Exception]]], most: int
    ) -> None:
        self._work = work
        self._most = most
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, item: Item) -> Result:
        """Return what came of the item, or raise it; what fails a batch as a whole is raised to each of it."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._empty())
        return await future

    async def _empty(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            results: Sequence[Result | Exception]
            try:
                results = await self._work([item for item, _ in batch])
            except Exception as error:  # noqa: BLE001 - whatever it is belongs to those who wait
                results = [error] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                _give(future, result)


def _give(future: asyncio.Future[Result], result: Result | Exception) -> None:
    if future.done():  # who asked went away
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
