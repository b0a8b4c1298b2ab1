"""What does the worker do, and how often: callbacks and pushes all the time, housekeeping now and then."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from gateway.measures import count_run
from gateway.refusals import Outage
from gateway.scenarios import housekeeping
from gateway.scenarios.context import Context
from gateway.scenarios.store_access import StoreAccess
from gateway.scenarios.user_lifecycle import block_overdue
from gateway.worker.callbacks import Courier
from gateway.worker.posting import Post
from gateway.worker.pushes import Providers, Waker
from hsm.errors import DeviceError

_log = structlog.get_logger("worker")
_CALLBACK_SECONDS = 0.5
_PUSH_SECONDS = 0.5
_EXPIRY_SECONDS = 1.0
_SWEEP_SECONDS = 5.0
_MARKS_SECONDS = 10.0
_AFTER_OUTAGE_SECONDS = 3.0


async def run_worker(ctx: Context, post: Post, providers: Providers, stop: asyncio.Event) -> None:
    """Run every duty until told to stop. A duty that fails is logged and tried again; the others go on."""
    courier = Courier(ctx, post)

    async def callbacks() -> int:
        return await courier.start_due() or await courier.tries.wait(_CALLBACK_SECONDS)

    async def marks() -> int:
        await housekeeping.forget_old_marks(ctx)
        return 0

    async def expiry() -> int:
        ended = await housekeeping.expire_transactions(ctx) + await housekeeping.lapse_keysets(ctx)
        return ended + await block_overdue(ctx)

    async def sweep() -> int:
        return await housekeeping.sweep_keys(ctx)

    await asyncio.gather(
        _repeat("callbacks", callbacks, _CALLBACK_SECONDS, stop),
        run_pushes(ctx, providers, stop),
        _repeat("expiry", expiry, _EXPIRY_SECONDS, stop),
        _repeat("sweep", sweep, _SWEEP_SECONDS, stop),
        _repeat("marks", marks, _MARKS_SECONDS, stop),
    )
    await _end("callbacks", courier.tries.finish)


async def run_pushes(ctx: StoreAccess, providers: Providers, stop: asyncio.Event) -> None:
    """Wake phones until told to stop: the one duty that needs no token."""
    waker = Waker(ctx, providers)

    async def pushes() -> int:
        return await waker.start_due() or await waker.tries.wait(_PUSH_SECONDS)

    await _repeat("pushes", pushes, _PUSH_SECONDS, stop)
    await _end("pushes", waker.close)


async def _end(name: str, finish: Callable[[], Awaitable[None]]) -> None:
    try:
        await finish()
    except Exception as error:  # noqa: BLE001 - what is not finished is claimed again by the next worker
        _log.warning("duty did not end cleanly", duty=name, why=str(error))


async def _repeat(name: str, duty: Callable[[], Awaitable[int]], pause: float, stop: asyncio.Event) -> None:
    while not stop.is_set():
        wait = pause
        try:
            if await duty():
                wait = 0.0  # there may be more of it
            count_run(name, "ok")
        except (Outage, DeviceError) as error:
            _log.warning("duty waits", duty=name, why=str(error))
            count_run(name, "outage")
            wait = _AFTER_OUTAGE_SECONDS
        except Exception:  # noqa: BLE001 - the boundary: a bug in one duty must not keep callbacks from going out
            _log.exception("duty failed", duty=name)
            count_run(name, "failed")
            wait = _AFTER_OUTAGE_SECONDS
        try:
            await asyncio.wait_for(stop.wait(), wait)
        except TimeoutError:
            continue
