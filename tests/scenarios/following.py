"""How do tests follow the log: a feed on a bench, lines written beside it, and what a stream gives."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count

import sqlalchemy as sa

from gateway.scenarios.event_feed import EventFeed, Line, Stream, StreamLimits
from gateway.scenarios.waiting import Waiters
from gateway.store import applications, events
from gateway.store.database import Connection, Database
from tests.scenarios.bench import Bench
from tests.store.rows import event

_names = count()


def make_feed(bench: Bench, waiters: Waiters | None = None, **limits: float) -> EventFeed:
    """Return a feed that looks often."""
    made = StreamLimits(**limits)  # type: ignore[arg-type]
    return EventFeed(bench.ctx, waiters or bench.ctx.waiters, made, look_seconds=0.005)


def key_of(bench: Bench) -> str:
    """Return the id of the application's credential."""
    with bench.ctx.database.reading() as connection:
        return applications.credentials_of(connection, bench.asker.application.id)[0].id


def open_stream(bench: Bench, feed: EventFeed, after: int | None = 0, **filters: str) -> Awaitable[Stream]:
    """Open a stream of the application's events, of all there are unless told otherwise."""
    return feed.follow(bench.asker.application.id, key_of(bench), filters, after)


def append_lines(bench: Bench, connection: Connection, number: int = 1, **changed: str) -> None:
    """Append lines to the log."""
    mine = {"application_id": bench.asker.application.id, **changed}
    lines = [replace(event(f"evt_feed_{next(_names)}"), **mine) for _ in range(number)]  # type: ignore[arg-type]
    events.append_events(connection, lines)


def write_lines(bench: Bench, number: int = 1, database: Database | None = None, **changed: str) -> None:
    """Append lines in a unit of their own."""
    with (database or bench.ctx.database).unit() as connection:
        append_lines(bench, connection, number, **changed)


def stored(bench: Bench, after: int = 0) -> list[int]:
    """Return the numbers of the application's lines."""
    found = bench.rows(sa.text("SELECT number, application_id FROM events ORDER BY number"))  # type: ignore[arg-type]
    return [number for number, owner in found if number > after and owner == bench.asker.application.id]


async def read_until(stream: Stream, done: Callable[[list[Line]], bool]) -> list[Line]:
    """Read until it is done, or the stream ends."""
    found: list[Line] = []
    async with asyncio.timeout(20):
        async for page in stream.pages():
            found += page
            if done(found):
                break
    return found


async def take(stream: Stream, number: int) -> list[int]:
    """Read at least so many lines, and return their numbers."""
    found = await read_until(stream, lambda lines: len(lines) >= number)
    return [each for each, _ in found]


async def end_of(stream: Stream) -> str | None:
    """Read a stream to its end, and say why it ended."""
    await read_until(stream, lambda _: False)
    stream.close()
    return stream.ended
