"""Is who waits woken by what another process changes, without asking the database again and again?"""

import asyncio
import contextlib
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from gateway.refusals import Outage
from gateway.scenarios.change_watch import ChangeWatch, pending_topic, watched
from gateway.scenarios.waiting import Waiters
from gateway.store import events
from gateway.store.database import Connection
from tests.scenarios.bench import Bench, run
from tests.store.rows import event

_FAST, _LONG = 0.005, 20  # who is not woken waits for 30 s, and then it is too late
_names = count()


def _apart(bench: Bench) -> Bench:
    """Return a bench whose context is that of another process: nobody wakes its waiters directly."""
    waiters = Waiters()
    ctx = replace(bench.ctx, waiters=waiters, changes=ChangeWatch(bench.ctx, waiters, look_seconds=_FAST))
    return replace(bench, ctx=ctx)


def _append(connection: Connection, **subject: str) -> None:
    events.append_events(connection, [replace(event(f"evt_watch_{next(_names)}"), **subject)])  # type: ignore[arg-type]


class _Looks:
    """Counts looks, and is done when it is told so."""

    def __init__(self) -> None:
        self.number, self.is_done = 0, False
        self.looked = asyncio.Event()

    async def __call__(self) -> bool:
        self.number += 1
        self.looked.set()
        return self.is_done


async def _waiting(bench: Bench, topic: str) -> tuple[_Looks, "asyncio.Task[bool]"]:
    looks = _Looks()
    task = asyncio.create_task(watched(bench.ctx, topic, 30, looks, bool))
    await looks.looked.wait()
    return looks, task


@pytest.mark.parametrize(("looks_at_end", "number"), [(True, 2), (False, 1)])
def test_who_was_not_woken_looks_once_more_only_where_something_may_change_silently(
    bench: Bench, *, looks_at_end: bool, number: int
) -> None:
    async def scenario() -> None:
        looks = _Looks()
        assert not await watched(bench.ctx, "txn_of_nobody", 0.02, looks, bool, looks_at_end=looks_at_end)
        assert looks.number == number

    run(scenario())


@pytest.mark.parametrize("subject", ["transaction", "user"])
def test_a_change_by_another_process_wakes_who_waits_for_it_and_nobody_else(
    bench: Bench, subject: str
) -> None:
    other = _apart(bench)
    application = bench.asker.application.id
    wanted = {
        "transaction": ("txn_watched", {"transaction_id": "txn_watched"}),
        "user": (
            pending_topic(application, "watched"),
            {"application_id": application, "user_id": "watched"},
        ),
    }
    topic, written = wanted[subject]

    async def scenario() -> None:
        idle, resting = await _waiting(other, "txn_of_somebody_else")
        looks, task = await _waiting(other, topic)
        looks.is_done = True
        await bench.ctx.unit(_append, **written)
        assert await asyncio.wait_for(task, _LONG)
        assert (looks.number, idle.number) == (2, 1)
        resting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await resting

    run(scenario())


def test_more_lines_than_one_look_takes_wake_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.scenarios.change_watch._LINES_PER_LOOK", 2)
    other = _apart(bench)

    async def scenario() -> None:
        looks, task = await _waiting(other, "txn_after_many")
        looks.is_done = True
        for name in ("txn_1", "txn_2", "txn_3", "txn_4", "txn_after_many"):
            await bench.ctx.unit(_append, transaction_id=name)
        assert await asyncio.wait_for(task, _LONG)

    run(scenario())


def test_when_nobody_waits_any_more_nothing_looks_and_the_next_one_is_watched_for_again(bench: Bench) -> None:
    other = _apart(bench)

    async def scenario() -> None:
        for _ in range(2):
            looks, task = await _waiting(other, "txn_again")
            looks.is_done = True
            await bench.ctx.unit(_append, transaction_id="txn_again")
            assert await asyncio.wait_for(task, _LONG)
            assert other.ctx.changes._task is None

    run(scenario())


def test_an_outage_wakes_nobody_and_loses_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    other = _apart(bench)
    monkeypatch.setattr("gateway.scenarios.change_watch._AFTER_OUTAGE_SECONDS", _FAST)
    present = events.horizon

    async def scenario() -> None:
        loop, failed = asyncio.get_running_loop(), asyncio.Event()

        def away(_: Connection) -> events.Horizon:
            loop.call_soon_threadsafe(failed.set)
            raise Outage("the database is away")

        looks, task = await _waiting(other, "txn_away")
        monkeypatch.setattr(events, "horizon", away)
        await failed.wait()
        await bench.ctx.unit(_append, transaction_id="txn_away")
        looks.is_done = True
        assert looks.number == 1
        monkeypatch.setattr(events, "horizon", present)
        assert await asyncio.wait_for(task, _LONG)

    run(scenario())


def test_a_phone_sees_a_transaction_that_another_process_creates(any_bench: Bench) -> None:
    other = _apart(any_bench)

    async def scenario() -> tuple[str, Any]:
        phone = await any_bench.enrol("waiting")
        asking = asyncio.create_task(other.ask(phone, "transactions.pending", {"wait": 30}))
        while not other.ctx.waiters._topics:  # noqa: ASYNC110 - it is not told when it waits
            await asyncio.sleep(_FAST)
        made = await any_bench.ask_to_confirm("waiting")
        return made, await asyncio.wait_for(asking, _LONG)

    made, found = run(scenario())
    assert [each["transaction"] for each in found["transactions"]] == [made]


def test_phones_that_ask_do_not_wake_each_other(bench: Bench) -> None:
    other = _apart(bench)
    application = bench.asker.application.id
    subject = {"application_id": application, "user_id": "asking"}

    async def scenario() -> None:
        looks, task = await _waiting(other, pending_topic(application, "asking"))
        for kind in ("client.request", "client.authentication_failed"):
            await bench.ctx.unit(_append, type=kind, **subject)
        await asyncio.sleep(20 * _FAST)
        assert looks.number == 1
        looks.is_done = True
        await bench.ctx.unit(_append, type="transaction.created", **subject)
        assert await asyncio.wait_for(task, _LONG)

    run(scenario())
