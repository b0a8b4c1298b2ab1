"""The command line: what an operator can ask of the gateway."""

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gateway import __version__, assembly
from gateway.logs import configure_logs
from gateway.refusals import Outage, Refusal
from gateway.rules import policy as policies
from gateway.scenarios import administration
from gateway.scenarios.access import DEFAULT_SCOPES, EXTRA_SCOPES
from gateway.serving import Role, serve_all, serve_door, work
from gateway.settings import Settings, SettingsError, load_settings
from gateway.store import migrate as migrations
from gateway.store.migrate import SchemaBehind
from hsm.errors import DeviceError

command = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)
application = typer.Typer(no_args_is_help=True, help="Application systems that may use the gateway.")
command.add_typer(application, name="application")
_out = Console()


@command.command()
def init() -> None:
    """Prepare token and database: make the gateway's own keys and the schema, where they are missing.

    A database belongs to the token it was prepared with; every command refuses another one.
    """
    settings = load_settings()
    database = assembly.open_database(settings)
    migrations.upgrade(database)
    _out.print(f"database: schema {migrations.head()}")
    device = assembly.open_device(settings)
    try:
        made = assembly.prepare(database, device)
        _out.print(f"token: made {', '.join(made)}" if made else "token: every key of the gateway was there")
    finally:
        device.close()
        database.close()


@command.command()
def migrate() -> None:
    """Bring the database to the schema of this version."""
    database = assembly.open_database(load_settings())
    before = migrations.current(database)
    migrations.upgrade(database)
    _out.print(f"database: schema {before or 'none'} -> {migrations.head()}")
    database.close()


@command.command()
def check(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the settings in force and try token and database; secrets are never shown."""
    settings = load_settings()
    results = {"database": _try(lambda: _try_database(settings))}
    both = results["database"] == "ok"
    results["token"] = _try(lambda: _try_token(settings, with_database=both))
    if as_json:
        print(json.dumps({"version": __version__, "settings": settings.shown(), "checks": results}, indent=2))
    else:
        table = Table("setting", "value", title=f"Countersign {__version__}")
        for name, value in settings.shown().items():
            table.add_row(name, value)
        _out.print(table)
        for name, result in results.items():
            _out.print(f"{name}: {result}")
    if any(result != "ok" for result in results.values()):
        raise typer.Exit(1)


def _try(probe: Callable[[], None]) -> str:
    try:
        probe()
    except (DeviceError, Outage, SchemaBehind, SettingsError) as error:
        return str(error)
    return "ok"


def _try_database(settings: Settings) -> None:
    database = assembly.open_database(settings)
    try:
        migrations.require_current(database)
    finally:
        database.close()


def _try_token(settings: Settings, *, with_database: bool) -> None:
    device = assembly.open_device(settings)
    try:
        keys = assembly.find_house_keys(device)
        if with_database:
            with closing(assembly.open_database(settings)) as database:
                assembly.require_own_token(database, keys)
    finally:
        device.close()


@command.command()
def serve(
    role: Annotated[
        Role, typer.Argument(help="Which door; all of them with the worker on loopback if none is named.")
    ] = Role.ALL,
) -> None:
    """Serve the doors: `application` for banks, `client` for phones, or everything in one process."""
    settings = load_settings()
    configure_logs(settings.log_level)
    if role is Role.ALL:
        asyncio.run(serve_all(settings))
    else:
        serve_door(settings, role)


@command.command(name="work")
def work_command() -> None:
    """Run the worker alone: callbacks, time-outs, housekeeping."""
    settings = load_settings()
    configure_logs(settings.log_level)
    asyncio.run(work(settings))


@application.command("add")
def application_add(
    name: Annotated[str, typer.Argument(help="Name of the application system, for people.")],
    callback: Annotated[str | None, typer.Option(help="Address its callbacks go to.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help=f"Further scope; off by default: {', '.join(EXTRA_SCOPES)}.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="JSON file with the policy values that differ.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Add an application and show its API key and callback secret, this once."""
    settings = load_settings()
    values: dict[str, Any] = {} if policy is None else json.loads(policy.read_text())

    async def add() -> administration.NewApplication:
        with assembly.open_context(settings) as context:
            return await administration.add_application(
                context, name, callback, (*DEFAULT_SCOPES, *(scope or ())), policies.from_json(values)
            )

    new = asyncio.run(add())
    shown = {"application": new.id, "api_key": new.api_key, "webhook_secret": new.webhook_secret}
    if as_json:
        print(json.dumps(shown))
        return
    for label, value in shown.items():
        _out.print(f"{label}: {value}", soft_wrap=True, highlight=False)
    _out.print("Key and secret are shown this once; keep them where the application alone can read them.")


@command.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def main() -> None:
    """Run the command line; what an operator can mend is one clear line and exit status 1."""
    try:
        command()
    except (SettingsError, SchemaBehind, DeviceError, Outage, ValueError) as error:
        _fail(str(error))
    except Refusal as refusal:
        places = "; ".join(f"{error['pointer']}: {error['detail']}" for error in refusal.errors)
        _fail(places or refusal.detail or refusal.reason)


def _fail(text: str) -> None:
    print(f"countersign: {text}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
