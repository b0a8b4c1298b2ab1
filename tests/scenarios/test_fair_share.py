"""Can one application that asks for very much keep the others waiting?"""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from sqlalchemy.engine import Connection

from gateway.scenarios.batching import Room
from gateway.scenarios.fair_share import on_behalf_of
from tests.scenarios.bench import Bench, run
from tests.scenarios.following import make_feed, open_stream, write_lines

SHARE = 4  # half of the bench's connections
GREEDY, OTHER = "app_greedy", "app_other"
SOON_SECONDS = 60  # who has to wait for what does not end fails after half of it


class Gate:
    """Work that takes until it is let through, and how much of it was under way at a time."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.inside = self.most = 0
        self._lock = threading.Lock()
        self._full = threading.Event()

    def pass_through(self, _: Connection) -> None:
        """Wait, as a slow statement does."""
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            if self.inside == SHARE:
                self._full.set()
        self.open.wait(SOON_SECONDS)
        with self._lock:
            self.inside -= 1

    def wait_until_full(self) -> None:
        """Wait until as much is under way as may be."""
        assert self._full.wait(SOON_SECONDS)


@contextmanager
def _opened(gate: Gate) -> Iterator[None]:
    try:
        yield
    finally:
        gate.open.set()


@asynccontextmanager
async def _greedy(bench: Bench, gate: Gate) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Have one application ask for many slow things, until the block ends."""
    with on_behalf_of(GREEDY):
        asked = [asyncio.create_task(bench.ctx.reading(gate.pass_through)) for _ in range(4 * SHARE)]
    await asyncio.to_thread(gate.wait_until_full)
    with _opened(gate):
        yield asked
    await asyncio.gather(*asked, return_exceptions=True)


def _quick(_: Connection) -> str:
    return "answered"


def test_who_asks_for_many_slow_things_keeps_nobody_waiting_but_itself(bench: Bench) -> None:
    gate = Gate()

    async def others() -> list[str]:
        async with _greedy(bench, gate), asyncio.timeout(SOON_SECONDS / 2):
            phone = await bench.ctx.reading(_quick)
            with on_behalf_of(OTHER):
                return [phone, await bench.ctx.reading(_quick), await bench.ctx.on_device(lambda: "computed")]

    assert run(others()) == ["answered", "answered", "computed"]
    assert gate.most == SHARE


def test_going_away_is_no_way_to_have_more_than_a_share(bench: Bench) -> None:
    gate = Gate()

    async def come_and_go() -> None:
        async with _greedy(bench, gate) as asked:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            with on_behalf_of(GREEDY):
                late = asyncio.create_task(bench.ctx.reading(_quick))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(late), 0.1)
            gate.open.set()
            await late

    run(come_and_go())
    assert gate.most == SHARE


def test_a_batch_that_one_of_many_began_waits_in_no_line(bench: Bench) -> None:
    gate = Gate()

    async def work(items: list[str]) -> list[str]:
        return [await bench.ctx.reading(_quick) for _ in items]

    async def ask() -> str:
        async with _greedy(bench, gate), asyncio.timeout(SOON_SECONDS / 2):
            with on_behalf_of(GREEDY):
                return await Room(work, most=8).ask("keys")

    assert run(ask()) == "answered"


def test_who_asks_for_very_much_leaves_places_to_wait_for_the_others() -> None:
    async def ask() -> list[str | BaseException]:
        gate = asyncio.Event()

        async def work(items: list[str]) -> list[str]:
            await gate.wait()
            return items

        room = Room(work, most=4, waiting_most=8)
        with on_behalf_of(GREEDY):
            asked = [asyncio.create_task(room.ask(GREEDY)) for _ in range(40)]
        await asyncio.sleep(0.05)
        with on_behalf_of(OTHER):
            asked.append(asyncio.create_task(room.ask(OTHER)))
        await asyncio.sleep(0.05)
        gate.set()
        async with asyncio.timeout(SOON_SECONDS):
            return await asyncio.gather(*asked, return_exceptions=True)

    assert run(ask()) == [*([GREEDY] * 40), OTHER]


def test_who_goes_away_leaves_its_place_in_a_room_to_the_others() -> None:
    batches: list[list[str]] = []

    async def ask() -> str:
        gate = asyncio.Event()

        async def work(items: list[str]) -> list[str]:
            batches.append(items)
            await gate.wait()
            return items

        room = Room(work, most=4, waiting_most=8)
        for _ in range(8):  # over HTTP/2, a caller that breaks its connection takes all of its requests away
            with on_behalf_of(GREEDY):
                asked = [asyncio.create_task(room.ask(GREEDY)) for _ in range(4)]
            await asyncio.sleep(0.01)
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        with on_behalf_of(OTHER):
            other = asyncio.create_task(room.ask(OTHER))
        await asyncio.sleep(0.01)
        gate.set()
        async with asyncio.timeout(SOON_SECONDS):
            return await other

    assert run(ask()) == OTHER
    assert batches == [[GREEDY] * 4, [OTHER]]


def test_streams_that_are_far_behind_read_within_the_share_of_their_application(bench: Bench) -> None:
    gate = Gate()

    async def follow() -> int:
        feed = make_feed(bench)
        await asyncio.to_thread(write_lines, bench, 300)  # more than are kept for all
        stream = await open_stream(bench, feed, 0)
        with on_behalf_of(bench.asker.application.id):
            slow = [asyncio.create_task(bench.ctx.reading(gate.pass_through)) for _ in range(SHARE)]
        await asyncio.to_thread(gate.wait_until_full)
        reading = asyncio.create_task(feed.page(stream))
        with _opened(gate), pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(reading), 0.1)
        await asyncio.gather(*slow)
        stream.close()
        return len(await reading)

    assert run(follow()) == 100
