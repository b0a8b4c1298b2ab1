"""How do the doors get onto the network: hypercorn, one process or several, and an orderly stop."""

import asyncio
import asyncio.constants
import gc
import ipaddress
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import structlog
from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config
from hypercorn.run import run as hypercorn_run

from gateway.assembly import open_context, open_store_access
from gateway.broken_lines import mend_server
from gateway.certificate import end_of, tell_end
from gateway.clock import SystemClock
from gateway.doors import make_doors, make_post
from gateway.hung import end_process
from gateway.logs import configure_logs
from gateway.metrics import published, require_free
from gateway.roles import Role
from gateway.scenarios import house_values
from gateway.scenarios.context import Context
from gateway.scenarios.version_watch import VersionWatch
from gateway.scenarios.waiting import MOST_WAIT_SECONDS
from gateway.settings import Settings, SettingsError, load_settings
from gateway.stopping import TOLD_TO_STOP, stop_passed_on, when_passed_on
from gateway.worker.loop import run_pushes, run_worker
from gateway.worker.push.configured import make_providers

_log = structlog.get_logger("gateway")
_GRACE_SECONDS = 5
_COLLECT_AFTER = (10_000, 20, 20)  # objects; collections of the younger ones

# How long a closed TLS connection waits for the other side to say goodbye. asyncio takes 30 s where the server
# names no time, and hypercorn names none: an idle client would keep a stopping process alive for that long.
asyncio.constants.SSL_SHUTDOWN_TIMEOUT = 2.0
mend_server()


def _config(settings: Settings, role: Role) -> Config:
    bind = settings.application_bind if role is Role.APPLICATION else settings.client_bind
    config = Config()
    config.bind = [bind]
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn")
    config.include_server_header = False
    config.graceful_timeout = _GRACE_SECONDS
    config.shutdown_timeout = _GRACE_SECONDS
    config.keep_alive_timeout = 60
    config.h11_max_incomplete_size = 32 * 1024
    config.alpn_protocols = ["h2", "http/1.1"]
    end = end_of(settings)
    if end is None:
        _require_loopback(bind)
    else:
        tell_end(end, SystemClock())
        config.certfile = str(settings.tls_certificate_file)
        # One file may hold both. Without a name for the key hypercorn would speak without TLS.
        config.keyfile = str(settings.tls_key_file or settings.tls_certificate_file)
    _require_address(config, bind, role)
    return config


def _require_address(config: Config, bind: str, role: Role) -> None:
    """Refuse an address that cannot be listened on, or is taken."""
    try:
        made = config.create_sockets()
    except (OSError, ValueError, OverflowError) as error:  # the last: a port that is too large
        why = getattr(error, "strerror", None) or "not an address"
        raise SettingsError(
            f"Cannot listen on {bind}: {why}. Free it, or name another in COUNTERSIGN_{role.upper()}_BIND."
        ) from None
    for held in (*made.secure_sockets, *made.insecure_sockets):
        held.close()


def _require_loopback(bind: str) -> None:
    """Refuse to speak without TLS on anything but loopback."""
    host = bind.rpartition(":")[0].strip("[]")
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if not is_loopback:
        raise SettingsError(
            f"Without TLS a door listens on loopback only, not on {bind}. "
            "Set COUNTERSIGN_TLS_CERTIFICATE_FILE and COUNTERSIGN_TLS_KEY_FILE."
        )


@contextmanager
def _watched_context(settings: Settings, role: str) -> Iterator[Context]:
    """Open everything this process works with, watch its token, and publish its figures."""
    with (
        open_context(settings, on_hung=end_process) as context,
        context.canary.singing(
            settings.canary_seconds,
            partial(house_values.learn_noted, context.device, context.database),
            VersionWatch(context.device, context.keys, context.database, context.clock).look,
            context.token_watch.look,
        ),
        published(settings, context, role),
    ):
        yield context


def _spare_the_collector() -> None:
    """Keep Python's collector off what was loaded, which stays, and let it look less often at what comes after."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


async def serve_all(settings: Settings) -> None:
    """Serve both doors and run the worker in this process until it is told to stop."""
    configs = {role: _config(settings, role) for role in (Role.APPLICATION, Role.CLIENT)}
    stop = _stop_event()
    with _watched_context(settings, Role.ALL) as context:
        doors, post = make_doors(settings, context), make_post(settings)
        providers = make_providers(settings, context.clock)
        _spare_the_collector()
        _log.info("serving", **{f"{role}_door": config.bind[0] for role, config in configs.items()})

        async def stopped() -> None:
            await stop.wait()
            context.waiters.close()

        servers = [
            hypercorn_serve(doors[role], config, shutdown_trigger=stopped, mode="asgi")  # type: ignore[arg-type]
            for role, config in configs.items()
        ]
        await _until_first_ends(stop, *servers, run_worker(context, post, providers, stop))
    _log.info("stopped")


async def work(settings: Settings) -> None:
    """Run the worker alone until it is told to stop."""
    stop = _stop_event()
    with _watched_context(settings, "worker") as context:
        _log.info("working")
        await run_worker(context, make_post(settings), make_providers(settings, context.clock), stop)
    _log.info("stopped")


async def work_push(settings: Settings) -> None:
    """Send pushes, and nothing else, until it is told to stop: without token and PIN."""
    stop = _stop_event()
    with open_store_access(settings) as access, published(settings, None, "push"):
        providers = make_providers(settings, access.clock)
        if not providers:
            raise SettingsError(
                "No push service is set up. Set COUNTERSIGN_PUSH_WEB_KEY_FILE, COUNTERSIGN_PUSH_FCM_ACCOUNT_FILE or "
                "COUNTERSIGN_PUSH_APNS_KEY_FILE."
            )
        _log.info("working", push=", ".join(providers))
        await run_pushes(access, providers, stop)
    _log.info("stopped")


async def _until_first_ends(stop: asyncio.Event, *duties: Any) -> None:
    """Run the duties together; when one ends or fails, whatever the reason, all are told to stop."""
    asyncio.get_running_loop().set_exception_handler(_log_stray)
    tasks = [asyncio.ensure_future(duty) for duty in duties]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    was_told = stop.is_set()
    stop.set()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, BaseException) and not was_told:
            raise ended
        if isinstance(ended, BaseException):  # a peer that broke off while we were saying goodbye
            _log.info("did not end cleanly", why=type(ended).__name__)


def _log_stray(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what no task was there to catch; peers that vanish in the middle of TLS are everyday life."""
    error = context.get("exception")
    if isinstance(error, OSError | TimeoutError):
        _log.debug("connection broke", why=type(error).__name__)
    else:
        loop.default_exception_handler(context)


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    return stop


def serve_door(settings: Settings, role: Role) -> None:
    """Serve one door with as many processes as the settings say; each opens token and database for itself."""
    with open_context(settings):
        require_free(settings)  # what is wrong is said here, once, before any process is started
    config = _config(settings, role)
    config.workers = settings.workers
    # What is under way is answered before a process ends; what waits is told to stop waiting, see gateway.stopping.
    config.graceful_timeout = MOST_WAIT_SECONDS + _GRACE_SECONDS
    config.shutdown_timeout = MOST_WAIT_SECONDS + _GRACE_SECONDS
    config.application_path = f"asgi:gateway.serving:{role}_asgi"
    with stop_passed_on() as heard:
        hypercorn_run(config)
    if not heard & TOLD_TO_STOP:
        # One of the processes was killed or broke, which hypercorn does not tell in its status: whoever
        # supervises us must learn that nobody asked for this end.
        sys.exit(1)


def _lazy_door(role: Role) -> Callable[..., Awaitable[None]]:
    """Return an ASGI application that opens its context at start-up, in the process that serves it."""
    held: dict[str, Any] = {}

    async def lifespan(receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        await receive()
        with ExitStack() as parts:
            try:
                settings = load_settings()
                configure_logs(settings.log_level)
                asyncio.get_running_loop().set_exception_handler(_log_stray)
                context = parts.enter_context(_watched_context(settings, role))
                when_passed_on(context.waiters.close)
                held["door"] = make_doors(settings, context)[role]
                _spare_the_collector()
            except Exception as error:  # noqa: BLE001 - unsaid, the server would go on with a door that leads nowhere
                _log.exception("cannot open the door")
                await send({"type": "lifespan.startup.failed", "message": type(error).__name__})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
            context.waiters.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def door(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        else:
            await held["door"](scope, receive, send)

    return door


application_asgi = _lazy_door(Role.APPLICATION)
client_asgi = _lazy_door(Role.CLIENT)
