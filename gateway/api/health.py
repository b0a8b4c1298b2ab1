"""Is this process well: `livez` never touches database or HSM, `readyz` tries both."""

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.refusals import Outage
from gateway.scenarios.context import Context
from gateway.wire.timestep import format_time
from hsm.errors import DeviceError

_MOST_SECONDS = 5


def health_routes(ctx: Context) -> list[Route]:
    """Return the routes `/livez` and `/readyz`."""

    async def livez(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "alive"})

    async def readyz(_request: Request) -> JSONResponse:
        checks = {
            "database": await _try(ctx, ctx.store_threads, ctx.database.ping),
            "device": await _try(ctx, ctx.device_threads, lambda: ctx.device.mac(ctx.keys.decoy, b"readyz")),
        }
        ready = all(state == "ok" for state in checks.values())
        body = {"status": "ready" if ready else "not ready", "time": format_time(ctx.clock.now()), **checks}
        return JSONResponse(body, status_code=200 if ready else 503)

    return [Route("/livez", livez), Route("/readyz", readyz)]


async def _try(_ctx: Context, threads: object, probe: object) -> str:
    loop = asyncio.get_running_loop()
    try:
        await asyncio.wait_for(loop.run_in_executor(threads, probe), _MOST_SECONDS)  # type: ignore[arg-type]
    except (Outage, DeviceError, TimeoutError) as error:
        return f"away: {type(error).__name__}"
    return "ok"
