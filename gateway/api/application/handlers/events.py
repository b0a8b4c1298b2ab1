"""What the calls about the event log do: a page of it, or server-sent events until one of the two ends them."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

import structlog
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from gateway.api.application.asking import Ask
from gateway.api.application.paging import page_of
from gateway.api.problems import Reply
from gateway.scenarios import event_log
from gateway.scenarios.context import Context
from gateway.scenarios.event_feed import Stream
from gateway.scenarios.representation import event_view

CONTENT_TYPE = "text/event-stream"
_SEND_SECONDS = 20  # in which a reader takes what it was sent
_RETRY = b"retry: 2000\n"  # milliseconds after which a reader that was cut off comes back
_HEARTBEAT = b":\n\n"
_log = structlog.get_logger("access")


def _filters(ask: Ask) -> dict[str, str]:
    """Return which events are asked for, by the names of the store."""
    columns = {"user": "user_id", "keyset": "keyset_id", "transaction": "transaction_id", "type": "type"}
    return {column: ask.query[name] for name, column in columns.items() if name in ask.query}


async def list_events(ctx: Context, ask: Ask) -> Reply:
    """Read a page of events."""
    after = ask.number("after", 0)
    views = await event_log.list_events(ctx, ask.asker, _filters(ask), after, ask.limit)
    return page_of(ask, "events", views, by="number")


async def follow_events(ctx: Context, ask: Ask) -> Reply:
    """Open a stream of events."""
    after = ask.number("after", 0) if "after" in ask.query else None
    asker, resumed = ask.asker, ask.last_event_id
    stream = await ctx.feed.follow(
        asker.application.id, asker.credential_id, _filters(ask), after if resumed is None else resumed
    )

    def respond(headers: Mapping[str, str]) -> EventStreamResponse:
        return EventStreamResponse(stream, ask.origin.request_id, headers)

    # A proxy that collects what it passes on would keep the events to itself.
    return Reply(200, b"", CONTENT_TYPE, {"x-accel-buffering": "no"}, respond)


class EventStreamResponse(StreamingResponse):
    """Sends what a stream gives, and closes it however the connection ends."""

    def __init__(self, stream: Stream, request_id: str, headers: Mapping[str, str]) -> None:
        super().__init__(_frames(stream), headers=headers)
        self._stream, self._request_id = stream, request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the stream ends, or the reader goes away or takes nothing any more."""

        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(_SEND_SECONDS):
                    await send(message)
            except TimeoutError:
                self._stream.ended = "reader takes nothing"
                raise

        try:
            if scope["method"] == "HEAD":
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                with suppress(TimeoutError):
                    await super().__call__(scope, receive, send_in_time)
        finally:
            self._stream.close()
            why = self._stream.ended or "reader went away"
            _log.info("event stream ended", request=self._request_id, why=why)


async def _frames(stream: Stream) -> AsyncIterator[bytes]:
    """Give the bytes of pages; where there are none, how far the reader has come, or a sign of life."""
    told = None
    begin = _RETRY
    async for page in stream.pages():
        if page:
            told = page[-1][0]
            yield b"".join(_frame(number, event_view(number, event)) for number, event in page)
        elif told != stream.position:
            told = stream.position
            yield begin + b"event: position\n" + _frame(told, {"number": told})
            begin = b""
        else:
            yield _HEARTBEAT


def _frame(number: int, data: Mapping[str, object]) -> bytes:
    return f"id: {number}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()
