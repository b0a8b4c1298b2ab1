"""Does whoever follows the log get every line once and in order, whoever wrote it and however slow the reader is?"""

import asyncio
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from gateway.scenarios import event_feed
from gateway.scenarios.event_feed import Line
from gateway.store import events
from hsm.device import Device
from tests.scenarios.bench import Bench, opened_bench, run
from tests.scenarios.following import (
    append_lines,
    make_feed,
    open_stream,
    read_until,
    stored,
    take,
    write_lines,
)
from tests.store.databases import KINDS, migrated_database, opened, url_of
from tests.store.racing import in_threads

UNITS = 3
ON_POSTGRESQL = pytest.mark.parametrize("log_bench", ["postgresql"], indirect=True, scope="module")


@pytest.fixture(scope="module", params=KINDS)
def log_bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, own_device: Device
) -> Iterator[Bench]:
    """A bench on each kind of database, whose log only grows from test to test."""
    folder = tmp_path_factory.mktemp("log")
    with migrated_database(request.param, folder) as database, opened_bench(database, own_device) as made:
        yield made


def test_a_stream_gives_what_another_process_writes(log_bench: Bench):
    bench = log_bench

    async def follow() -> list[int]:
        stream = await open_stream(bench, make_feed(bench), None)
        reading = asyncio.create_task(take(stream, 3))
        with opened(url_of(bench.ctx.database)) as other:
            for _ in range(3):
                await asyncio.to_thread(write_lines, bench, 1, other)
            found = await reading
        stream.close()
        return found

    before = stored(bench)
    assert run(follow()) == stored(bench, after=before[-1])


@ON_POSTGRESQL
def test_a_lower_number_that_is_committed_later_is_not_skipped(log_bench: Bench):
    bench = log_bench

    async def follow() -> list[int]:
        stream = await open_stream(bench, make_feed(bench), None)
        with bench.ctx.database.unit() as slow:
            append_lines(bench, slow)
            write_lines(bench)  # has the higher number, and is there before
            early = asyncio.create_task(take(stream, 1))
            done, _ = await asyncio.wait([early], timeout=0.2)
            assert not done
        found = await early
        stream.close()
        return found

    last = stored(bench)[-1]
    found = run(follow())
    assert found == stored(bench, after=last)
    assert len(found) == 2


@ON_POSTGRESQL
def test_who_follows_many_writers_and_breaks_off_again_and_again_gets_each_line_once(log_bench: Bench):
    bench = log_bench

    def write(_: int) -> None:
        for _ in range(10):
            with bench.ctx.database.unit() as connection:
                append_lines(bench, connection)
                connection.execute(sa.text("SELECT pg_sleep(random() / 20)"))

    async def follow() -> list[int]:
        feed, found = make_feed(bench), []
        last = stored(bench)[-1]
        writing = asyncio.create_task(asyncio.to_thread(in_threads, 6, write))
        while len(found) < 60:
            stream = await open_stream(bench, feed, found[-1] if found else last)
            # What else it got is lost on the way.
            found += (await take(stream, 7 if len(found) < 53 else 1))[:7]
            stream.close()
        await writing
        return found

    last = stored(bench)[-1]
    assert run(follow()) == stored(bench, after=last)


def test_a_reader_far_behind_holds_no_more_than_a_page(log_bench: Bench):
    bench = log_bench

    async def follow() -> list[int]:
        feed = make_feed(bench)
        slow, quick = await open_stream(bench, feed), await open_stream(bench, feed, None)
        await asyncio.to_thread(write_lines, bench, 1500)
        assert len(await take(quick, 1500)) == 1500
        kept = feed._tails[bench.asker.application.id].lines
        assert len(kept) <= 200
        found = []
        async for page in slow.pages():
            assert len(page) <= 100
            found += [number for number, _ in page]
            if len(found) >= len(stored(bench)):
                break
        slow.close()
        quick.close()
        return found

    assert run(follow()) == stored(bench)


def test_a_stream_has_the_events_of_its_application_and_its_filters_alone(bench: Bench):
    async def follow() -> tuple[list[Line], int]:
        feed = make_feed(bench)
        anna = await open_stream(bench, feed, 0, user_id="anna", type="user.created")
        async with asyncio.timeout(20):
            first = await anext(anna.pages())
        await asyncio.to_thread(write_lines, bench, 150, user_id="bob")
        await asyncio.to_thread(write_lines, bench, 2, user_id="anna", application_id="app_other")
        await asyncio.to_thread(write_lines, bench, 1, user_id="anna")
        found = await read_until(anna, bool)
        anna.close()
        return first + found, anna.position

    found, position = run(follow())
    assert [(line.user_id, line.application_id) for _, line in found] == [
        ("anna", bench.asker.application.id)
    ]
    assert position == found[0][0]


def test_many_streams_ask_the_database_no_more_than_one(log_bench: Bench):
    bench = log_bench
    asked: list[str] = []
    sa.event.listen(bench.ctx.database.engine, "before_cursor_execute", lambda *told: asked.append(told[2]))

    async def follow(streams: int) -> int:
        feed = make_feed(bench, most=50, most_per_application=50)
        held = [await open_stream(bench, feed, None) for _ in range(streams)]
        reading = [asyncio.create_task(take(stream, 30)) for stream in held]
        await asyncio.sleep(0)
        asked.clear()
        for _ in range(UNITS):
            await asyncio.to_thread(write_lines, bench, 10)
        assert len({tuple(found) for found in await asyncio.gather(*reading)}) == 1
        for stream in held:
            stream.close()
        return sum("events.body_sha256" in statement for statement in asked)

    assert run(follow(1)) <= UNITS
    assert run(follow(30)) <= UNITS


def test_a_quiet_stream_gives_signs_of_life_while_others_are_busy(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(event_feed, "HEARTBEAT_SECONDS", 0.05)

    async def follow() -> list[list[Line]]:
        stream = await open_stream(bench, make_feed(bench), None, type="of.nobody")
        pages, busy = stream.pages(), True

        async def write() -> None:
            while busy:
                await asyncio.to_thread(write_lines, bench)

        writing = asyncio.create_task(write())
        found = [await asyncio.wait_for(anext(pages), 10) for _ in range(4)]
        busy = False
        await writing
        stream.close()
        return found

    assert run(follow()) == [[], [], [], []]


def test_a_stream_that_wants_little_of_a_long_log_reads_it_piece_by_piece(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(event_feed, "_NUMBERS_PER_READ", 10)
    write_lines(bench, 95)
    write_lines(bench, type="wanted")
    write_lines(bench, 5)

    async def follow() -> tuple[list[int], int]:
        reads: list[int] = []
        feed = make_feed(bench)
        read = events.list_events

        def counted(*args: object, **words: int) -> list[Line]:
            reads.append(words["through"] - words["after"])
            return read(*args, **words)  # type: ignore[arg-type]

        monkeypatch.setattr(events, "list_events", counted)
        stream = await open_stream(bench, feed, 0, type="wanted")
        found = await take(stream, 1)
        stream.close()
        return found, max(reads)

    found, widest = run(follow())
    assert (len(found), widest) == (1, 10)
