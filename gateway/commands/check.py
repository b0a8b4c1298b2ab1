"""Is everything that the settings name there and usable, and what is not set up at all?"""

import json
from collections.abc import Callable
from contextlib import closing
from typing import Annotated

import typer

from gateway import __version__, assembly
from gateway.certificate import require_lasting
from gateway.client_authority import require_accepted
from gateway.clock import SystemClock
from gateway.commands.screen import plain, screen
from gateway.refusals import Outage
from gateway.settings import Settings, SettingsError, load_settings
from gateway.store import schema
from gateway.store.schema import SchemaBehind
from hsm.errors import DeviceError

_OK = "ok"
_CLOCK = SystemClock()


def check(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the settings in force, try database and token, read keys for push and certificates; never a secret.

    Exit status: 1 if anything that is set up is not well.
    """
    settings = load_settings()
    is_well, results = _checked(settings)
    if as_json:
        print(json.dumps({"version": __version__, "settings": settings.shown(), "checks": results}, indent=2))
    else:
        _show(settings, results)
    if not is_well:
        raise typer.Exit(1)


def _show(settings: Settings, results: dict[str, str]) -> None:
    out = screen()
    out.print(f"Countersign {__version__}", highlight=False)
    for name, value in settings.shown().items():
        out.print(f"{name}={plain(value)}", soft_wrap=True, highlight=False)
    for name, result in results.items():
        out.print(f"{name}: {result}", soft_wrap=True)


def _checked(settings: Settings) -> tuple[bool, dict[str, str]]:
    """Return whether all is well, and what was found of each."""
    has_database, database = _try(lambda: _try_database(settings))
    tried = {
        "database": (has_database, database),
        "token": _try(lambda: _try_token(settings, with_database=has_database)),
        "push": _try(lambda: _try_push(settings)),
        "certificate": _try(lambda: _try_certificate(settings)),
        "client_ca": _try(lambda: require_accepted(settings, _CLOCK)),
    }
    return all(is_well for is_well, _ in tried.values()), {name: text for name, (_, text) in tried.items()}


def _try(probe: Callable[[], str]) -> tuple[bool, str]:
    try:
        return True, probe()
    except Outage as outage:
        return False, told(outage).removeprefix("database: ")
    except (DeviceError, SchemaBehind, SettingsError) as error:
        return False, str(error)


def _try_database(settings: Settings) -> str:
    with closing(assembly.open_database(settings)) as database:
        schema.require_current(database)
    return _OK


def _try_token(settings: Settings, *, with_database: bool) -> str:
    device = assembly.open_device(settings)
    try:
        keys = assembly.find_house_keys(device)
        if with_database:
            with closing(assembly.open_database(settings)) as database:
                assembly.require_own_token(database, keys)
        lines = assembly.compared(device)
    finally:
        device.close()
    if lines:  # of several tokens, which are not all well and the same
        raise SettingsError("; ".join(lines))
    return _OK


def _try_push(settings: Settings) -> str:
    from gateway.worker.push.configured import make_providers  # noqa: PLC0415  # other commands start faster

    return _OK if make_providers(settings, _CLOCK) else "not set up: no phone is woken by this process"


def _try_certificate(settings: Settings) -> str:
    if settings.tls_certificate_file is None:
        return "not set up: the doors speak no TLS, and listen on loopback alone"
    require_lasting(settings, _CLOCK)
    return _OK


def told(outage: Outage) -> str:
    """Return why, and what to look at; a command that met it may be run again."""
    text = str(outage)
    if not text.startswith("database: "):
        return text
    return (
        f"{text}. Is it there, has it room and this user the rights, and do COUNTERSIGN_DATABASE_URL, "
        "COUNTERSIGN_DATABASE_PASSWORD_FILE or COUNTERSIGN_DATA_DIR name it?"
    )
