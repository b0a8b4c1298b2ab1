"""When does a stream of events end, and does it make room and lose nothing by it?"""

import asyncio

import pytest
import sqlalchemy as sa
from starlette.types import Message

from gateway.api.application.handlers import events
from gateway.refusals import Outage, Refusal
from gateway.scenarios.waiting import Waiters
from gateway.store import applications
from tests.scenarios.bench import Bench, run
from tests.scenarios.following import (
    end_of,
    key_of,
    make_feed,
    open_stream,
    read_until,
    stored,
    take,
    write_lines,
)


def test_a_stream_ends_with_its_credential(bench: Bench):
    async def follow() -> str | None:
        feed, name = make_feed(bench), key_of(bench)
        ending = asyncio.create_task(end_of(await open_stream(bench, feed)))
        await bench.ctx.unit(applications.revoke_credential, name, bench.clock.now())
        return await ending

    assert run(follow()) == "revoked"


def test_a_stream_ends_when_the_process_stops_and_no_other_begins(bench: Bench):
    async def follow() -> str | None:
        waiters = Waiters()
        feed = make_feed(bench, waiters)
        ending = asyncio.create_task(end_of(await open_stream(bench, feed)))
        await asyncio.sleep(0)
        waiters.close()
        with pytest.raises(Outage):
            await open_stream(bench, feed)
        return await ending

    assert run(follow()) == "stopping"


def test_a_stream_ends_when_its_time_is_over(bench: Bench):
    async def follow() -> str | None:
        return await end_of(await open_stream(bench, make_feed(bench, seconds=0.05)))

    assert run(follow()) == "time over"


def test_a_look_that_fails_ends_the_streams_and_the_next_ones_miss_nothing(bench: Bench):
    async def follow() -> tuple[str | None, list[int]]:
        feed = make_feed(bench)
        stream = await open_stream(bench, feed, None)
        ending = asyncio.create_task(read_until(stream, lambda _: False))
        sa.event.listen(bench.ctx.database.engine, "before_cursor_execute", fail)
        await ending
        sa.event.remove(bench.ctx.database.engine, "before_cursor_execute", fail)
        await asyncio.to_thread(write_lines, bench, 3)
        following = await open_stream(bench, feed, stream.position)  # before the other is closed
        found = await take(following, 3)
        stream.close()
        following.close()
        return stream.ended, found

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    last = stored(bench)[-1]
    assert run(follow()) == ("failed", stored(bench, after=last))


def test_there_are_no_more_streams_than_the_limits_allow(bench: Bench):
    async def follow() -> list[str]:
        feed, told = make_feed(bench, most=3, most_per_application=2), []
        held = [await open_stream(bench, feed) for _ in range(2)]
        for application in (bench.asker.application.id, "app_other", "app_third"):
            try:
                held.append(await feed.follow(application, "key_other", {}, 0))
                told.append("open")
            except Refusal as refusal:
                told.append(refusal.problem.code)
        held[0].close()
        with pytest.raises(Refusal, match="malformed_request"):
            await open_stream(bench, feed, 10**9)
        assert feed.open_streams == 2
        held.append(await open_stream(bench, feed))
        for stream in held:
            stream.close()
        assert feed.open_streams == 0
        return told

    assert run(follow()) == ["too_many_streams", "open", "too_many_streams"]


@pytest.mark.parametrize("reader", ["takes nothing", "went away"])
def test_a_reader_that_takes_nothing_more_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, reader: str
):
    monkeypatch.setattr(events, "_SEND_SECONDS", 0.05)

    async def receive() -> Message:
        await asyncio.sleep(0 if reader == "went away" else 60)
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        await asyncio.sleep(60)

    async def follow() -> tuple[int, str | None]:
        feed = make_feed(bench)
        stream = await open_stream(bench, feed)
        async with asyncio.timeout(20):
            answer = events.EventStreamResponse(stream, "req_test", {})
            await answer({"type": "http", "method": "GET"}, receive, send)
        return feed.open_streams, stream.ended

    assert run(follow()) == (0, "reader takes nothing" if reader == "takes nothing" else None)
