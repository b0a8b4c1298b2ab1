"""How do applications follow the log as it grows: one look at the database for all streams of a process.

While streams are open, one task looks for new lines of their applications and keeps the newest of each. A stream has
only the number up to which it was given everything: it takes what follows from those, or, where it is further behind,
page by page from the database. So a slow reader costs no memory, and a number that is committed late is not skipped
(see ``gateway.store.events``).
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import dataclass, field

import structlog

from gateway.refusals import Outage, Refusal
from gateway.scenarios.fair_share import nobodys, on_behalf_of
from gateway.scenarios.store_access import StoreAccess
from gateway.scenarios.waiting import LOOK_SECONDS, Waiters
from gateway.store import applications, events
from gateway.store.database import Connection
from gateway.store.events import Event, Horizon

Line = tuple[int, Event]

HEARTBEAT_SECONDS = 15
_NUMBERS_PER_READ = 20_000  # of the log, whatever of it a stream wants: no read goes over all of a long log
_TOPIC = "event streams"
_LINES_KEPT = 200  # of each application
_LINES_PER_LOOK = 500
_LINES_PER_PAGE = 100
_AFTER_OUTAGE_SECONDS = 2

_log = structlog.get_logger("gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """How many streams there may be in a process, and for how long each."""

    most: int = 100
    most_per_application: int = 10
    seconds: float = 900


@dataclass(slots=True)
class _Tail:
    """The newest lines of one application: all of those whose number is greater than ``begins``."""

    begins: int
    lines: list[Line] = field(default_factory=list)

    def extend(self, lines: Iterable[Line]) -> None:
        self.lines += lines
        dropped = self.lines[:-_LINES_KEPT]
        if dropped:
            self.begins = dropped[-1][0]
            del self.lines[:-_LINES_KEPT]


class EventFeed:
    """The streams of this process, and the one task that looks for all of them.

    Args:
        access: the database.
        waiters: wake the streams, and end them when the process stops.
        limits: of streams.
        look_seconds: from one look to the next.
    """

    def __init__(
        self,
        access: StoreAccess,
        waiters: Waiters,
        limits: StreamLimits | None = None,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self.access, self.waiters, self.limits = access, waiters, limits or StreamLimits()
        self.through = 0  # every line up to this number is in the tails, or can be read in pages
        self._look_seconds = look_seconds
        self._streams: set[Stream] = set()
        self._tails: dict[str, _Tail] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def open_streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    async def follow(
        self, application_id: str, credential_id: str, filters: dict[str, str], after: int | None
    ) -> "Stream":
        """Open a stream; whoever gets it closes it.

        Args:
            application_id: whose events.
            credential_id: by what they may be read; the stream ends with it.
            filters: as of ``gateway.store.events.list_events``.
            after: number after which it begins; None: from now on.

        Raises:
            Refusal: ``too_many_streams``; ``malformed_request`` for a number that no event has yet.
        """
        stream = Stream(self, application_id, credential_id, filters)
        self._admit(stream)
        try:
            self._begin(stream, await self.access.reading(events.horizon), after)
        except BaseException:
            self.leave(stream)
            raise
        return stream

    def _admit(self, stream: "Stream") -> None:
        own = sum(each.application_id == stream.application_id for each in self._streams)
        if self.waiters.closing:
            raise Outage("the process is about to stop")
        if own >= self.limits.most_per_application or len(self._streams) >= self.limits.most:
            raise Refusal("too_many_streams", f"{own} of {len(self._streams)} streams are its own")
        self._streams.add(stream)

    def _begin(self, stream: "Stream", now: Horizon, after: int | None) -> None:
        if after is not None and after > now.last:
            raise Refusal("malformed_request", "beyond the log", detail="No event has this number yet.")
        if self._task is None or self._task.done():
            self.through = now.complete
            self._tails = {each.application_id: _Tail(self.through) for each in self._streams}
            self._task = asyncio.create_task(self._look_again_and_again(), context=nobodys())
        self._tails.setdefault(stream.application_id, _Tail(self.through))
        stream.position = now.complete if after is None else after

    def leave(self, stream: "Stream") -> None:
        """Forget a stream, and with the last one everything."""
        self._streams.discard(stream)
        if not any(each.application_id == stream.application_id for each in self._streams):
            self._tails.pop(stream.application_id, None)
        if not self._streams and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _look_again_and_again(self) -> None:
        try:
            while True:
                try:
                    pause = 0.0 if await self._look() else self._look_seconds
                except Outage:
                    # The streams stay open: nothing was lost, and the database may come back.
                    pause = _AFTER_OUTAGE_SECONDS
                await asyncio.sleep(pause)
        except Exception:  # noqa: BLE001 - a bug: the streams end rather than stay silent
            _log.exception("event streams cannot go on")
            self._end(self._streams, "failed")

    async def _look(self) -> bool:
        """Add what is new to the tails; say whether there is more."""
        tails = dict(self._tails)
        credentials = {stream.credential_id for stream in self._streams}
        horizon, valid = await self.access.reading(_now, credentials)
        self._end([each for each in self._streams if each.credential_id in credentials - valid], "revoked")
        if horizon.complete <= self.through:
            return False
        lines = await self.access.reading(
            events.lines_of, tails, after=self.through, through=horizon.complete, limit=_LINES_PER_LOOK
        )
        for application_id, tail in tails.items():
            tail.extend(line for line in lines if line[1].application_id == application_id)
        is_full = len(lines) == _LINES_PER_LOOK
        self.through = lines[-1][0] if is_full else horizon.complete
        for application_id, tail in self._tails.items():
            if tails.get(application_id) is not tail:  # opened during this look: it has none of its lines
                tail.begins = self.through
        self.waiters.wake(_TOPIC)
        return is_full

    def _end(self, streams: Iterable["Stream"], why: str) -> None:
        for stream in streams:
            stream.ended = stream.ended or why
            self.waiters.wake(_TOPIC)

    async def page(self, stream: "Stream") -> list[Line]:
        """Return what follows the stream's position, and move that on."""
        tail, through = self._tails[stream.application_id], self.through
        if stream.position >= through:
            return []
        if stream.position < tail.begins:
            through = min(through, stream.position + _NUMBERS_PER_READ)
            with on_behalf_of(stream.application_id):
                found = await self.access.reading(
                    events.list_events,
                    stream.application_id,
                    filters=stream.filters,
                    after=stream.position,
                    through=through,
                    limit=_LINES_PER_PAGE,
                )
        else:
            found = [line for line in tail.lines if line[0] > stream.position and stream.wants(line[1])]
            found = found[:_LINES_PER_PAGE]
        stream.position = found[-1][0] if len(found) == _LINES_PER_PAGE else through
        return found

    async def news(self, stream: "Stream", seconds: float) -> None:
        """Wait until there is something for the stream or it ends, so many seconds at most."""

        async def look() -> bool:
            return stream.position < self.through or stream.ended is not None

        await self.waiters.until(_TOPIC, seconds, look, bool, look_seconds=seconds)  # each change wakes it


class Stream:
    """One reader of the log, and how far it has come."""

    def __init__(
        self, feed: EventFeed, application_id: str, credential_id: str, filters: dict[str, str]
    ) -> None:
        self._feed = feed
        self.application_id, self.credential_id, self.filters = application_id, credential_id, filters
        self.position = 0
        self.ended: str | None = None  # why

    def wants(self, event: Event) -> bool:
        """Say whether the event passes the filters."""
        return all(getattr(event, name) == value for name, value in self.filters.items())

    async def pages(self) -> AsyncIterator[list[Line]]:
        """Give lines as they come; an empty page at the beginning, and where nothing came for a while.

        It ends when the time is over, the process stops, or the credential was revoked; ``ended`` says which.
        """
        loop, feed = asyncio.get_running_loop(), self._feed
        deadline = loop.time() + feed.limits.seconds
        yield []
        sign_due = loop.time() + HEARTBEAT_SECONDS  # however much others' lines move the position meanwhile
        while self.ended is None:
            await feed.news(self, max(0.0, min(sign_due, deadline) - loop.time()))
            if feed.waiters.closing:
                self.ended = "stopping"
            elif loop.time() >= deadline:
                self.ended = "time over"
            page = await self._page()
            if page or loop.time() >= sign_due:
                yield page
                sign_due = loop.time() + HEARTBEAT_SECONDS

    async def _page(self) -> list[Line]:
        try:
            return await self._feed.page(self)
        except Outage:
            await asyncio.sleep(_AFTER_OUTAGE_SECONDS)
            return []

    def close(self) -> None:
        """Make room for another stream."""
        self._feed.leave(self)


def _now(connection: Connection, credential_ids: Collection[str]) -> tuple[Horizon, set[str]]:
    horizon = events.horizon(connection)
    return horizon, applications.valid_credentials(connection, credential_ids)
