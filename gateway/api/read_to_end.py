"""What happens to the rest of a request that was refused early: it is read and thrown away before the answer ends.

The server hands on a body through a short queue. Nobody emptying it would leave the connection waiting for ever,
so a few large requests that are refused unread could use up every file descriptor of the process. But a caller that
sees the refusal may send no more and wait for its end, as curl does; so when nothing comes any more, it ends. And
it ends when something comes for ever.
"""

import asyncio
import contextlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_IDLE_SECONDS, _CLOSING_SECONDS = 1.0, 10.0
_REST_SECONDS = 60.0  # for all of the rest, before the answer ends and once more after it


class ReadToEnd:
    """Wraps an ASGI application: every request is read to its end, or until nothing of it comes any more."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; hold back the last part of the answer until nothing of the request is left."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        more = True

        async def counted() -> Message:
            nonlocal more
            message = await receive()
            more = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def read_on(pause_seconds: float) -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_REST_SECONDS):
                    while more:
                        async with asyncio.timeout(pause_seconds):
                            await counted()

        async def after_the_rest(message: Message) -> None:
            is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if is_last and more:
                await read_on(_IDLE_SECONDS)
            await send(message)
            if is_last and more:
                await read_on(_CLOSING_SECONDS)  # the server closes such a connection, and that is said here

        await self._app(scope, counted, after_the_rest)
