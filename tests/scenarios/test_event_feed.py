"""Does whoever follows the log get every line once and in order, whoever wrote it and however slow the reader is?"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from itertools import count

import pytest
import sqlalchemy as sa
from starlette.types import Message

from gateway.api.application.handlers import event_streams
from gateway.refusals import Outage, Refusal
from gateway.scenarios.event_feed import EventFeed, Line, Stream, StreamLimits
from gateway.scenarios.waiting import Waiters
from gateway.store import applications, events
from gateway.store.database import Connection, Database
from hsm.device import Device
from tests.scenarios.bench import Bench, opened_bench, run
from tests.store.databases import KINDS, migrated_database, opened, url_of
from tests.store.racing import in_threads
from tests.store.rows import event

_names = count()
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


def _feed(bench: Bench, waiters: Waiters | None = None, **limits: float) -> EventFeed:
    made = StreamLimits(**limits)  # type: ignore[arg-type]
    return EventFeed(bench.ctx, waiters or bench.ctx.waiters, made, look_seconds=0.005)


def _key(bench: Bench) -> str:
    with bench.ctx.database.reading() as connection:
        return applications.credentials_of(connection, bench.asker.application.id)[0].id


def _follow(bench: Bench, feed: EventFeed, after: int | None = 0, **filters: str) -> Awaitable[Stream]:
    return feed.follow(bench.asker.application.id, _key(bench), filters, after)


def _append(bench: Bench, connection: Connection, number: int = 1, **changed: str) -> None:
    mine = {"application_id": bench.asker.application.id, **changed}
    lines = [replace(event(f"evt_feed_{next(_names)}"), **mine) for _ in range(number)]  # type: ignore[arg-type]
    events.append_events(connection, lines)


def _write(bench: Bench, number: int = 1, database: Database | None = None, **changed: str) -> None:
    with (database or bench.ctx.database).unit() as connection:
        _append(bench, connection, number, **changed)


def _stored(bench: Bench, after: int = 0) -> list[int]:
    found = bench.rows(sa.text("SELECT number, application_id FROM events ORDER BY number"))  # type: ignore[arg-type]
    return [number for number, owner in found if number > after and owner == bench.asker.application.id]


async def _until(stream: Stream, done: Callable[[list[Line]], bool]) -> list[Line]:
    found: list[Line] = []
    async with asyncio.timeout(20):
        async for page in stream.pages():
            found += page
            if done(found):
                break
    return found


async def _take(stream: Stream, number: int) -> list[int]:
    found = await _until(stream, lambda lines: len(lines) >= number)
    return [each for each, _ in found]


async def _end_of(stream: Stream) -> str | None:
    await _until(stream, lambda _: False)
    stream.close()
    return stream.ended


def test_a_stream_gives_what_another_process_writes(log_bench: Bench):
    bench = log_bench

    async def follow() -> list[int]:
        stream = await _follow(bench, _feed(bench), None)
        reading = asyncio.create_task(_take(stream, 3))
        with opened(url_of(bench.ctx.database)) as other:
            for _ in range(3):
                await asyncio.to_thread(_write, bench, 1, other)
            found = await reading
        stream.close()
        return found

    before = _stored(bench)
    assert run(follow()) == _stored(bench, after=before[-1])


@ON_POSTGRESQL
def test_a_lower_number_that_is_committed_later_is_not_skipped(log_bench: Bench):
    bench = log_bench

    async def follow() -> list[int]:
        stream = await _follow(bench, _feed(bench), None)
        with bench.ctx.database.unit() as slow:
            _append(bench, slow)
            _write(bench)  # has the higher number, and is there before
            early = asyncio.create_task(_take(stream, 1))
            done, _ = await asyncio.wait([early], timeout=0.2)
            assert not done
        found = await early
        stream.close()
        return found

    last = _stored(bench)[-1]
    found = run(follow())
    assert found == _stored(bench, after=last)
    assert len(found) == 2


@ON_POSTGRESQL
def test_who_follows_many_writers_and_breaks_off_again_and_again_gets_each_line_once(log_bench: Bench):
    bench = log_bench

    def write(_: int) -> None:
        for _ in range(10):
            with bench.ctx.database.unit() as connection:
                _append(bench, connection)
                connection.execute(sa.text("SELECT pg_sleep(random() / 20)"))

    async def follow() -> list[int]:
        feed, found = _feed(bench), []
        last = _stored(bench)[-1]
        writing = asyncio.create_task(asyncio.to_thread(in_threads, 6, write))
        while len(found) < 60:
            stream = await _follow(bench, feed, found[-1] if found else last)
            found += (await _take(stream, 7 if len(found) < 53 else 1))[
                :7
            ]  # what else it got is lost on the way
            stream.close()
        await writing
        return found

    last = _stored(bench)[-1]
    assert run(follow()) == _stored(bench, after=last)


def test_a_reader_far_behind_holds_no_more_than_a_page(log_bench: Bench):
    bench = log_bench

    async def follow() -> list[int]:
        feed = _feed(bench)
        slow, quick = await _follow(bench, feed), await _follow(bench, feed, None)
        await asyncio.to_thread(_write, bench, 1500)
        assert len(await _take(quick, 1500)) == 1500
        kept = feed._tails[bench.asker.application.id].lines
        assert len(kept) <= 200
        found = []
        async for page in slow.pages():
            assert len(page) <= 100
            found += [number for number, _ in page]
            if len(found) >= len(_stored(bench)):
                break
        slow.close()
        quick.close()
        return found

    assert run(follow()) == _stored(bench)


def test_a_stream_has_the_events_of_its_application_and_its_filters_alone(bench: Bench):
    async def follow() -> tuple[list[Line], int]:
        feed = _feed(bench)
        anna = await _follow(bench, feed, 0, user_id="anna", type="user.created")
        async with asyncio.timeout(20):
            first = await anext(anna.pages())
        await asyncio.to_thread(_write, bench, 150, user_id="bob")
        await asyncio.to_thread(_write, bench, 2, user_id="anna", application_id="app_other")
        await asyncio.to_thread(_write, bench, 1, user_id="anna")
        found = await _until(anna, bool)
        anna.close()
        return first + found, anna.position

    found, position = run(follow())
    assert [(line.user_id, line.application_id) for _, line in found] == [
        ("anna", bench.asker.application.id)
    ]
    assert position == found[0][0]


def test_a_stream_ends_with_its_credential(bench: Bench):
    async def follow() -> str | None:
        feed, name = _feed(bench), _key(bench)
        ending = asyncio.create_task(_end_of(await _follow(bench, feed)))
        await bench.ctx.unit(applications.revoke_credential, name, bench.clock.now())
        return await ending

    assert run(follow()) == "revoked"


def test_a_stream_ends_when_the_process_stops_and_no_other_begins(bench: Bench):
    async def follow() -> str | None:
        waiters = Waiters()
        feed = _feed(bench, waiters)
        ending = asyncio.create_task(_end_of(await _follow(bench, feed)))
        await asyncio.sleep(0)
        waiters.close()
        with pytest.raises(Outage):
            await _follow(bench, feed)
        return await ending

    assert run(follow()) == "stopping"


def test_a_stream_ends_when_its_time_is_over(bench: Bench):
    async def follow() -> str | None:
        return await _end_of(await _follow(bench, _feed(bench, seconds=0.05)))

    assert run(follow()) == "time over"


def test_there_are_no_more_streams_than_the_limits_allow(bench: Bench):
    async def follow() -> list[str]:
        feed, told = _feed(bench, most=3, most_per_application=2), []
        held = [await _follow(bench, feed) for _ in range(2)]
        for application in (bench.asker.application.id, "app_other", "app_third"):
            try:
                held.append(await feed.follow(application, "key_other", {}, 0))
                told.append("open")
            except Refusal as refusal:
                told.append(refusal.problem.code)
        held[0].close()
        with pytest.raises(Refusal, match="malformed_request"):
            await _follow(bench, feed, 10**9)
        assert feed.open_streams == 2
        held.append(await _follow(bench, feed))
        for stream in held:
            stream.close()
        assert feed.open_streams == 0
        return told

    assert run(follow()) == ["too_many_streams", "open", "too_many_streams"]


def test_many_streams_ask_the_database_no_more_than_one(log_bench: Bench):
    bench = log_bench
    asked: list[str] = []
    sa.event.listen(bench.ctx.database.engine, "before_cursor_execute", lambda *told: asked.append(told[2]))

    async def follow(streams: int) -> int:
        feed = _feed(bench, most=50, most_per_application=50)
        held = [await _follow(bench, feed, None) for _ in range(streams)]
        reading = [asyncio.create_task(_take(stream, 30)) for stream in held]
        await asyncio.sleep(0)
        asked.clear()
        for _ in range(UNITS):
            await asyncio.to_thread(_write, bench, 10)
        assert len({tuple(found) for found in await asyncio.gather(*reading)}) == 1
        for stream in held:
            stream.close()
        return sum("events.body_sha256" in statement for statement in asked)

    assert run(follow(1)) <= UNITS
    assert run(follow(30)) <= UNITS


@pytest.mark.parametrize("reader", ["takes nothing", "went away"])
def test_a_reader_that_takes_nothing_more_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, reader: str
):
    monkeypatch.setattr(event_streams, "_SEND_SECONDS", 0.05)

    async def receive() -> Message:
        await asyncio.sleep(0 if reader == "went away" else 60)
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        await asyncio.sleep(60)

    async def follow() -> tuple[int, str | None]:
        feed = _feed(bench)
        stream = await _follow(bench, feed)
        async with asyncio.timeout(20):
            answer = event_streams.EventStreamResponse(stream, "req_test", {})
            await answer({"type": "http", "method": "GET"}, receive, send)
        return feed.open_streams, stream.ended

    assert run(follow()) == (0, "reader takes nothing" if reader == "takes nothing" else None)
