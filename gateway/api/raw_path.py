"""By which path is a request routed: by the one that was sent, so that an encoded slash stays part of an id."""

from starlette.types import ASGIApp, Receive, Scope, Send


class RawPath:
    """Wraps an ASGI application: the routes see the path still percent-encoded. Handlers decode what they take."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its raw path."""
        if scope["type"] == "http":
            scope = {**scope, "path": scope["raw_path"].decode("ascii", "replace")}
        await self._app(scope, receive, send)
