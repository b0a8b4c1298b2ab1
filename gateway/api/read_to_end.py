"""What happens to the rest of a request that was refused early: it is read and thrown away before the answer ends.

The server hands on a body through a short queue. Nobody emptying it would leave the connection waiting for ever,
so a few large requests that are refused unread could use up every file descriptor of the process.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class ReadToEnd:
    """Wraps an ASGI application: every request is read to its end, or to the end of its connection."""

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

        async def after_the_rest(message: Message) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                while more:
                    await counted()
            await send(message)

        await self._app(scope, counted, after_the_rest)
