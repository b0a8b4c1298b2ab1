"""How does a request reach its endpoint where paths have no parameters: by one look into a table.

Starlette tries a regular expression for each route and wraps each call into several handlers of exceptions. For an
action of the client that costs more than reading what it says.
"""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]


class ByPath:
    """Wraps an ASGI application: a POST to a path of the table goes to its endpoint, everything else goes on.

    Args:
        app: takes what is not in the table, other methods of its paths included.
        endpoints: by exact path; each answers whatever happens, since nobody here catches what it raises.
    """

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, Endpoint]) -> None:
        self._app = app
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        endpoint = self._endpoints.get(scope["path"]) if scope.get("method") == "POST" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        response = await endpoint(Request(scope, receive))
        await response(scope, receive, send)
