"""What a scenario works with that needs no device: the clock, the database, and the threads it is reached in."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from gateway.clock import Clock
from gateway.refusals import Outage
from gateway.scenarios.fair_share import FairShare
from gateway.store.database import Blocked, Collision, Connection, Database

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAccess:
    """All that a process without a token has; the context of every other one begins with it."""

    clock: Clock
    database: Database
    store_threads: ThreadPoolExecutor
    store_share: FairShare

    async def in_store_thread(self, work: Callable[[], T]) -> T:
        """Run work that reaches the database by itself; of one application so much at a time as is its share."""
        return await self.store_share.run(work)

    async def unit(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``work(connection, ...)`` as one unit in a thread: all of it is durable afterwards, or none.

        It is run again once where the database gave another unit the way, so it must change nothing but the database.
        """
        return await self.in_store_thread(partial(self.unit_here, work, *args, **kwargs))

    def unit_here(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do the same in this thread."""

        def run() -> T:
            with self.database.unit() as connection:
                return work(connection, *args, **kwargs)

        try:
            return run()
        except Collision:
            return run()

    async def unit_of_all(
        self, work: Callable[[Connection, Sequence[Item]], Sequence[T]], items: Sequence[Item]
    ) -> list[T | Exception]:
        """Run ``work(connection, items)`` as one unit, or, if that fails, for each item in a unit of its own.

        Returns for each what came of it, or what it raised.
        """
        return await self.in_store_thread(partial(self.unit_of_all_here, work, items)) if items else []

    def unit_of_all_here(
        self, work: Callable[[Connection, Sequence[Item]], Sequence[T]], items: Sequence[Item]
    ) -> list[T | Exception]:
        """Do the same in this thread."""
        if not items:
            return []
        try:
            return list(self.unit_here(work, items))
        except Exception as error:  # noqa: BLE001 - it is told to whom it concerns
            is_away = isinstance(error, Outage) and not isinstance(error, Collision | Blocked)
            if len(items) == 1 or is_away:
                return [error] * len(items)
        return [found for item in items for found in self.unit_of_all_here(work, [item])]

    async def reading(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``work(connection, ...)`` as a unit that only reads."""

        def run() -> T:
            with self.database.reading() as connection:
                return work(connection, *args, **kwargs)

        return await self.in_store_thread(run)

    async def reading_of_all(
        self, work: Callable[[Connection, Sequence[Item]], list[T | Exception]], items: Sequence[Item]
    ) -> list[T | Exception]:
        """Run ``work(connection, items)`` as a unit that reads, or, if it fails, for each item in a unit of its own.

        Returns for each what came of it, or what it raised.
        """
        try:
            return await self.reading(work, items)
        except Outage:
            raise
        except Exception as error:  # noqa: BLE001 - it is told to whom it concerns
            if len(items) == 1:
                return [error]
        return [found for item in items for found in await self.reading_of_all(work, [item])]

    async def looking(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``work(connection, ...)``, which reads by a single statement."""

        def run() -> T:
            with self.database.looking() as connection:
                return work(connection, *args, **kwargs)

        return await self.in_store_thread(run)
