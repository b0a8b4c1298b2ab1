"""Is this process well: `livez` never touches database or HSM, `readyz` tries both, once a second at most."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.api.describing import open_operation
from gateway.refusals import Outage
from gateway.scenarios.context import Context
from gateway.scenarios.token_watch import shown
from gateway.wire.timestep import format_time
from hsm.errors import DeviceError

HEALTH_PATHS = {
    "/livez": {
        "get": open_operation(
            "livez",
            "Whether the process lives; touches neither database nor HSM.",
            {"type": "object", "properties": {"status": {"const": "alive"}}, "required": ["status"]},
        )
    },
    "/readyz": {
        "get": open_operation(
            "readyz",
            "Whether database and HSM answer, and the canary is not wrong; asked of them once a second at most.",
            {
                "type": "object",
                "properties": {
                    "status": {"enum": ["ready", "not ready"]},
                    "time": {"type": "string"},
                    "database": {"type": "string"},
                    "device": {"type": "string"},
                    "canary": {"type": "string"},
                    "tokens": {
                        "type": "array",
                        "items": {"type": "object"},
                        "description": "each token, where there are several",
                    },
                },
                "required": ["status", "time", "database", "device", "canary"],
                "additionalProperties": False,
            },
            (200, 503),
        )
    },
}
_MOST_SECONDS = 5
_KEPT = timedelta(seconds=1)


def health_routes(ctx: Context) -> list[Route]:
    """Return the routes `/livez` and `/readyz`; they need no credentials, so they must cost next to nothing."""
    probe = _Probe(ctx)

    async def livez(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "alive"})

    async def readyz(_request: Request) -> JSONResponse:
        body = await probe.result()
        return JSONResponse(body, status_code=200 if body["status"] == "ready" else 503)

    return [Route("/livez", livez), Route("/readyz", readyz)]


class _Probe:
    """Tries database and device, and remembers the result for a moment; callers of that moment share it."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._lock = asyncio.Lock()
        self._tried_at: datetime | None = None
        self._body: dict[str, Any] = {}

    async def result(self) -> dict[str, Any]:
        async with self._lock:
            now = self._ctx.clock.now()
            if self._tried_at is None or now - self._tried_at >= _KEPT:
                self._body = await self._try_both(now)
                self._tried_at = now
            return self._body

    async def _try_both(self, now: datetime) -> dict[str, Any]:
        ctx = self._ctx
        database = await _try(ctx.store_threads, ctx.database.ping)
        device = await _try(ctx.device_threads, lambda: ctx.device.mac(ctx.keys.decoy, b"readyz"))
        # Of a little while ago. The device was asked just now as well, so of this only "wrong" counts.
        canary = ctx.canary.last
        ready = database == device == "ok" and canary != "wrong"
        status = "ready" if ready else "not ready"
        parts: dict[str, Any] = {"database": database, "device": device, "canary": canary}
        if tokens := shown(ctx.device):
            parts["tokens"] = tokens
        return {"status": status, "time": format_time(now), **parts}


async def _try(threads: Executor, probe: Callable[[], object]) -> str:
    loop = asyncio.get_running_loop()
    try:
        await asyncio.wait_for(loop.run_in_executor(threads, probe), _MOST_SECONDS)
    except (Outage, DeviceError, TimeoutError) as error:
        return f"away: {type(error).__name__}"
    return "ok"
