"""Does anything stay of who goes away, at whichever moment: a place, a turn, a thread, a key?"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.refusals import Refusal
from gateway.rules.policy import Policy
from gateway.scenarios.creating import SMALL_BYTES, create_transaction
from gateway.scenarios.fair_share import on_behalf_of
from gateway.scenarios.idempotency import Once
from gateway.scenarios.offline import submit_code
from gateway.scenarios.questions import Question
from gateway.scenarios.transactions import fetch_transaction
from gateway.scenarios.verification import verify_signature
from hsm.device import Device
from tests.scenarios.bench import ORIGIN, WISH, Bench, opened_bench, run
from tests.store.databases import migrated_database

STEPS = 14  # of the event loop, or milliseconds: each kind of request ends within fewer
QUESTION = Question(
    about_id="", operation="approve", content_sha256=None, step=1, code="123456", signature=None
)


@pytest.fixture
def offline_bench(tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """A bench under a policy that allows short codes."""
    with (
        migrated_database("sqlite", tmp_path) as database,
        opened_bench(database, own_device, Policy(offline_allowed=True)) as made,
    ):
        yield made


def _kinds(bench: Bench, transaction: str) -> list[Callable[[int], Awaitable[Any]]]:
    ctx, asker = bench.ctx, bench.asker

    def create(number: int, content: bytes) -> Awaitable[Any]:
        once = Once(f"key-{number}-{len(content)}", bytes(32))
        return create_transaction(ctx, asker, replace(WISH, content=content), once, ORIGIN)

    return [
        lambda number: create(number, b"Pay"),
        lambda number: create(number, bytes(SMALL_BYTES + 1)),
        lambda _: fetch_transaction(ctx, asker, transaction, 5),
        lambda _: submit_code(ctx, asker, transaction, f"{0:08}", ORIGIN),
        lambda _: verify_signature(ctx, asker, replace(QUESTION, about_id=transaction), ORIGIN),
        lambda _: bench.issue(f"nobody-{_}"),
    ]


def _left(bench: Bench) -> list[object]:
    ctx = bench.ctx
    lines = [ctx.store_share._lines, ctx.device_share._lines, *(room._lines for room in ctx.rooms.values())]
    left: list[object] = [each._lines for each in lines if each is not None and each._lines]
    left += [room for room in ctx.rooms.values() if room._waiting or room._under_way or room._next]
    if ctx.device_threads._room._value != ctx.device_threads.most:  # type: ignore[attr-defined]
        left.append("a place at the device")
    return [*left, *ctx.waiters._topics, *([ctx.changes.run] if ctx.changes.run else [])]


def test_nothing_is_left_whenever_one_goes_away(offline_bench: Bench) -> None:
    bench = offline_bench
    run(bench.enrol("anna"))
    transaction = run(bench.ask_to_confirm("anna", offline=True))

    async def come_and_go() -> int:
        gone = 0
        for ask in _kinds(bench, transaction):
            for steps in range(STEPS):
                with on_behalf_of(bench.asker.application.id):
                    asked = [asyncio.ensure_future(ask(10 * steps + number)) for number in range(3)]
                for _ in range(steps):
                    await asyncio.sleep(0 if steps < STEPS // 2 else 0.001)
                gone += sum(task.cancel() for task in asked)
                for ended in await asyncio.gather(*asked, return_exceptions=True):
                    assert not isinstance(ended, Exception) or isinstance(ended, Refusal), ended
        async with asyncio.timeout(10):
            while _left(bench):  # noqa: ASYNC110 - what was begun is finished
                await asyncio.sleep(0.005)
        return gone

    assert run(come_and_go()) > STEPS
    assert _left(bench) == []
    made = bench.rows("SELECT count(*) FROM transactions")[0][0] - 1
    kept = "SELECT count(*) FROM idempotency WHERE resource IN (SELECT id FROM transactions)"
    assert bench.rows(kept) == [(made + 1,)]
    assert bench.rows("SELECT count(*) FROM idempotency WHERE resource IS NULL") == [(0,)]
