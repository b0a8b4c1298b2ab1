"""What becomes of content that is handed in by itself: in its limits, in its time, in a crowd, on a full disk?"""

import asyncio
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.refusals import Outage, Refusal
from gateway.scenarios import housekeeping, uploads
from gateway.scenarios.context import Context
from gateway.scenarios.uploads import Incoming
from gateway.store.transactions import PART_BYTES
from tests.scenarios.bench import ORIGIN, Bench, run

PDF = "application/pdf"
PART = b"%" * 1000
ROWS = "SELECT (SELECT count(*) FROM uploads), (SELECT count(*) FROM contents)"


async def _parts(number: int = 2) -> AsyncIterator[bytes]:
    for _ in range(number):
        yield PART


def _incoming(parts: AsyncIterator[bytes] | None = None, size_most: int = 2 * len(PART)) -> Incoming:
    return Incoming(media_type=PDF, size_most=size_most, parts=parts or _parts())


async def _hand_in(
    bench: Bench, ctx: Context | None = None, incoming: Incoming | None = None, **how: Any
) -> str:
    taken = incoming or _incoming(**how)
    return str((await uploads.receive_content(ctx or bench.ctx, bench.asker, taken, ORIGIN))["id"])


def _rows(bench: Bench) -> tuple[int, int]:
    [row] = bench.rows(ROWS)
    return tuple(row)


async def _all(*asked: Coroutine[Any, Any, Any]) -> Counter[str]:
    """Do it all at once; count how each ended, a bug raises."""
    ended = await asyncio.gather(*asked, return_exceptions=True)
    for each in ended:
        if isinstance(each, BaseException) and not isinstance(each, Refusal):
            raise each
    return Counter(each.problem.code if isinstance(each, Refusal) else "done" for each in ended)


@pytest.mark.parametrize(
    "limit",
    [{"uploads_most": 3}, {"upload_bytes_most": 6 * len(PART)}, {"upload_bytes_most": 8 * len(PART) - 1}],
    ids=str,
)
def test_however_many_come_at_once_no_more_than_may_are_kept(any_bench: Bench, limit: dict[str, int]):
    bench = any_bench
    narrow = replace(bench.ctx, **limit)
    ended = run(_all(*(_hand_in(bench, narrow) for _ in range(6))))
    assert ended == {"done": 3, "too_many_uploads": 3}
    assert _rows(bench) == (3, 6)


def test_a_transaction_makes_room_for_the_next(bench: Bench):
    narrow = replace(bench.ctx, uploads_most=1)
    run(bench.enrol("anna"))
    first = run(_hand_in(bench, narrow))
    with pytest.raises(Refusal, match="too_many_uploads"):
        run(_hand_in(bench, narrow))
    run(bench.ask_to_confirm("anna", content_id=first))
    run(_hand_in(bench, narrow))


def test_what_is_complete_counts_as_large_as_it_is(bench: Bench):
    narrow = replace(bench.ctx, upload_bytes_most=10 * len(PART))
    for _ in range(5):
        run(_hand_in(bench, narrow, size_most=2 * len(PART)))
    with pytest.raises(Refusal, match="too_many_uploads"):
        run(_hand_in(bench, narrow, parts=_parts(1), size_most=len(PART)))
    assert _rows(bench) == (5, 10)


def test_of_many_transactions_at_once_one_gets_the_content(any_bench: Bench):
    bench = any_bench
    run(bench.enrol("anna"))
    name = run(_hand_in(bench))
    ended = run(_all(*(bench.ask_to_confirm("anna", content_id=name) for _ in range(4))))
    assert ended == {"done": 1, "not_found": 3}
    [only] = bench.rows("SELECT id FROM transactions")
    assert {row[0] for row in bench.rows("SELECT transaction_id FROM contents")} == {only[0]}


def test_unused_content_goes_after_an_hour_and_no_sooner(any_bench: Bench):
    bench = any_bench
    run(bench.enrol("anna"))
    used, unused = run(_hand_in(bench)), run(_hand_in(bench))
    transaction = run(bench.ask_to_confirm("anna", content_id=used, expires_in_seconds=7200))
    bench.clock.move(minutes=59)
    run(housekeeping.forget_old_marks(bench.ctx))
    assert _rows(bench) == (1, 4)
    bench.clock.move(minutes=1)
    with pytest.raises(Refusal, match="not_found"):
        run(bench.ask_to_confirm("anna", content_id=unused))
    run(housekeeping.forget_old_marks(bench.ctx))
    assert _rows(bench) == (0, 2)
    assert {row[0] for row in bench.rows("SELECT transaction_id FROM contents")} == {transaction}


def test_what_is_swept_while_it_comes_in_leaves_no_part(any_bench: Bench):
    bench = any_bench

    async def slowly() -> AsyncIterator[bytes]:
        yield PART
        bench.clock.move(hours=1)
        await housekeeping.forget_old_marks(bench.ctx)
        yield PART

    with pytest.raises(Refusal, match="too_slow"):
        run(_hand_in(bench, parts=slowly()))
    assert _rows(bench) == (0, 0)


def test_what_a_process_left_behind_goes_sooner_than_what_is_complete(bench: Bench):
    run(_hand_in(bench))

    async def killed() -> AsyncIterator[bytes]:
        yield PART
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run(_hand_in(bench, parts=killed()))
    assert _rows(bench) == (2, 3)
    bench.clock.move(minutes=10)
    run(housekeeping.forget_old_marks(bench.ctx))
    assert _rows(bench) == (1, 2)


def test_no_unit_is_open_while_the_next_part_is_waited_for(any_bench: Bench):
    bench, open_units = any_bench, list[int]()

    async def looking() -> AsyncIterator[bytes]:
        for _ in range(3):
            open_units.append(bench.ctx.database.engine.pool.checkedout())  # type: ignore[attr-defined]
            yield PART

    run(_hand_in(bench, parts=looking()))
    assert open_units == [0, 0, 0]


def test_a_full_disk_is_an_outage_and_nothing_stays(bench: Bench):
    engine = bench.ctx.database.engine
    engine.dispose()
    [[pages]] = bench.rows("PRAGMA page_count")

    def narrow(connection: Any, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages + 40}").fetchall()

    engine.dispose()
    sa.event.listen(engine, "connect", narrow)
    with pytest.raises(Outage):
        run(_hand_in(bench, parts=_parts(400), size_most=400 * len(PART)))
    assert _rows(bench) == (0, 0)
    run(_hand_in(bench))
    assert _rows(bench) == (1, 2)


def test_ten_mebibytes_pass_with_a_few_parts_of_them_in_memory(bench: Bench):
    async def many() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield bytes(PART_BYTES)

    run(_hand_in(bench))  # what is allocated once is not meant
    tracemalloc.start()
    try:
        run(_hand_in(bench, parts=many(), size_most=40 * PART_BYTES))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * PART_BYTES
