"""What is the least an answer can cost: a bare Starlette app that sends the body back, on the same server."""

from hypercorn.run import run
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.roles import Role
from gateway.serving import _config  # the very settings of the gateway, so that only the app differs
from gateway.settings import load_settings


async def _echo(request: Request) -> Response:
    return Response(await request.body(), headers={"content-type": "application/json"})


async def _livez(_request: Request) -> Response:
    return Response(b"")


app = Starlette(routes=[Route("/livez", _livez), Route("/{path:path}", _echo, methods=["POST"])])


def main() -> None:
    """Serve the echo where the settings put the client door, with as many processes as they say."""
    settings = load_settings()
    config = _config(settings, Role.CLIENT)
    config.workers = settings.workers
    config.application_path = "asgi:scripts.benchmarks.echo:app"
    run(config)


if __name__ == "__main__":
    main()
