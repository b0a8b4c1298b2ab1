"""Do requests that arrive together share one hop, each with its own result?"""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.scenarios import batching
from gateway.scenarios.batching import Room


class Worker:
    """Doubles numbers, once it is let; a negative one is refused, and 13 fails its batch."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_go_on = asyncio.Event()

    async def work(self, batch: list[int]) -> Sequence[int | Exception]:
        self.batches.append(batch)
        await self.may_go_on.wait()
        if 13 in batch:
            raise LookupError("13")
        return [ValueError(number) if number < 0 else 2 * number for number in batch]


async def _turns() -> None:
    """Let all go on that can: by turns of the loop, for a time may be over when nobody had one yet."""
    for _ in range(100):
        await asyncio.sleep(0)


async def _asked(room: Room[int, int], *numbers: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(room.ask(number)) for number in numbers]
    await _turns()
    return tasks


def test_what_arrives_while_a_batch_runs_makes_up_the_next_ones():
    async def run() -> None:
        worker = Worker()
        room: Room[int, int] = Room(worker.work, most=3)
        tasks = await _asked(room, 1)
        tasks += await _asked(room, 2, 3, 4, 5)
        worker.may_go_on.set()
        assert await asyncio.gather(*tasks) == [2, 4, 6, 8, 10]
        assert worker.batches == [[1], [2, 3, 4], [5]]
        assert await room.ask(6) == 12

    asyncio.run(run())


def test_batches_that_may_be_under_way_together_share_what_waits():
    async def run() -> None:
        worker = Worker()
        room: Room[int, int] = Room(worker.work, most=10, at_once=2)
        tasks = await _asked(room, *range(1, 10))
        while len(worker.batches) < 2:  # the rest waits a moment after so many
            await _turns()
        tasks += await _asked(room, 10, 11)
        assert worker.batches == [[1, 2, 3, 4, 5], [6, 7, 8, 9]]
        worker.may_go_on.set()
        assert await asyncio.gather(*tasks) == [2 * number for number in range(1, 12)]
        assert worker.batches[2:] == [[10, 11]]

    asyncio.run(run())


def test_after_a_crowd_the_first_that_come_wait_for_the_others(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batching, "_MOMENT_SECONDS", 0.2)

    async def run() -> None:
        worker = Worker()
        worker.may_go_on.set()
        room: Room[int, int] = Room(worker.work, most=10)
        await asyncio.gather(*await _asked(room, 1, 2, 3))
        tasks = await _asked(room, 4)
        tasks += await _asked(room, 5, 6)
        assert await asyncio.gather(*tasks) == [8, 10, 12]
        assert worker.batches == [[1, 2, 3], [4, 5, 6]]

    asyncio.run(run())


def test_a_refusal_is_for_the_one_it_belongs_to_and_a_failure_for_its_batch():
    async def run() -> None:
        worker = Worker()
        room: Room[int, int] = Room(worker.work, most=2)
        tasks = await _asked(room, 1)
        tasks += await _asked(room, -2, 3, 13, 4, 5)
        worker.may_go_on.set()
        kinds = [
            type(each) if isinstance(each, Exception) else each
            for each in await asyncio.gather(*tasks, return_exceptions=True)
        ]
        assert kinds == [2, ValueError, 6, LookupError, LookupError, 10]

    asyncio.run(run())


def test_who_goes_away_takes_nothing_from_the_others():
    async def run() -> None:
        worker = Worker()
        room: Room[int, int] = Room(worker.work, most=10)
        first, second = await _asked(room, 1, 2)
        first.cancel()
        worker.may_go_on.set()
        assert await second == 4
        with pytest.raises(asyncio.CancelledError):
            await first

    asyncio.run(run())


def test_a_room_goes_on_after_the_loop_that_used_it_has_ended():
    worker_batches: list[list[int]] = []

    async def work(batch: list[int]) -> Sequence[int | Exception]:
        worker_batches.append(batch)
        return batch

    room: Room[int, int] = Room(work, most=10)
    assert [asyncio.run(room.ask(number)) for number in (1, 2)] == [1, 2]


def test_who_is_patient_comes_along_with_others_and_starts_a_batch_only_in_the_end():
    async def run() -> None:
        worker = Worker()
        worker.may_go_on.set()
        room: Room[int, int] = Room(worker.work, most=10)
        patient = [asyncio.create_task(room.ask(number, 60)) for number in (1, 2)]
        await _turns()
        assert worker.batches == []
        assert await room.ask(3) == 6
        assert await asyncio.gather(*patient) == [2, 4]
        assert worker.batches == [[1, 2, 3]]
        assert await room.ask(4, 0.02) == 8
        assert worker.batches[1:] == [[4]]

    asyncio.run(run())


def test_the_end_of_a_batch_starts_none_for_those_who_are_patient():
    async def run() -> None:
        worker = Worker()
        room: Room[int, int] = Room(worker.work, most=10)
        first = await _asked(room, 1)
        patient = asyncio.create_task(room.ask(2, 60))
        await _turns()
        worker.may_go_on.set()
        await asyncio.gather(*first)
        await _turns()
        assert worker.batches == [[1]]
        assert await room.ask(3) == 6
        assert await patient == 4
        assert worker.batches == [[1], [2, 3]]

    asyncio.run(run())
