"""The command line: what an operator can ask of the gateway."""

import asyncio
import os
import sys
from typing import Annotated

import typer

from gateway import __version__, assembly
from gateway.commands.applications import application
from gateway.commands.check import check, told
from gateway.commands.doctor import doctor
from gateway.commands.events import list_events
from gateway.commands.keys import keys
from gateway.commands.screen import screen
from gateway.logs import configure_logs
from gateway.refusals import Outage, Refusal
from gateway.roles import Role, Work
from gateway.settings import SettingsError, load_settings
from gateway.store import schema
from gateway.store.database import Database
from gateway.store.schema import SchemaBehind
from hsm.errors import DeviceError, LoginRefused, PinRejected

command = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)
command.add_typer(application, name="application")
command.command(name="events")(list_events)
command.add_typer(keys, name="keys")
command.command("doctor")(doctor)
_out = screen()
_NOT_AGAIN = 3
_OTHERS = 0o007  # what everybody may do with a file who is neither its user nor of its group


@command.command()
def init() -> None:
    """Prepare token and database: make the gateway's own keys and the schema, where they are missing.

    A database belongs to the token it was prepared with; every command refuses another one.
    """
    settings = load_settings()
    database = assembly.open_database(settings)
    _upgrade(database)
    _out.print(f"database: schema {schema.HEAD}")
    device = assembly.open_device(settings)
    try:
        made = assembly.prepare(database, device)
        _out.print(f"token: made {', '.join(made)}" if made else "token: every key of the gateway was there")
        for line in assembly.compared(device):
            _out.print(line, highlight=False)
    finally:
        device.close()
        database.close()


@command.command()
def migrate() -> None:
    """Bring the database to the schema of this version."""
    database = assembly.open_database(load_settings())
    before = schema.current(database)
    _upgrade(database)
    _out.print(f"database: schema {before or 'none'} -> {schema.HEAD}")
    database.close()


def _upgrade(database: Database) -> None:
    from gateway.store.migrate import upgrade  # noqa: PLC0415  # a command that does not need it starts faster

    upgrade(database)


command.command()(check)


@command.command()
def serve(
    role: Annotated[
        Role, typer.Argument(help="Which door; all of them with the worker on loopback if none is named.")
    ] = Role.ALL,
) -> None:
    """Serve the doors: `application` for banks, `client` for phones, or everything in one process."""
    from gateway.serving import serve_all, serve_door  # noqa: PLC0415  # as above

    settings = load_settings()
    configure_logs(settings.log_level)
    if role is Role.ALL:
        asyncio.run(serve_all(settings))
    else:
        serve_door(settings, role)


@command.command(name="work")
def work_command(
    part: Annotated[
        Work, typer.Argument(help="Everything, or pushes alone: that needs neither token nor PIN.")
    ] = Work.ALL,
) -> None:
    """Run the worker alone: callbacks, pushes where they are set up, time-outs, housekeeping."""
    from gateway.serving import work, work_push  # noqa: PLC0415  # as above

    settings = load_settings()
    configure_logs(settings.log_level)
    asyncio.run(work(settings) if part is Work.ALL else work_push(settings))


@command.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def main() -> None:
    """Run the command line; what an operator can mend is one clear line and exit status 1.

    After a login that the token refused it is 3, so that a supervisor can be told not to try again: tokens count.
    """
    # An embedded database holds what users are asked, a software token their keys: in a folder that everybody may look
    # into, as in any other, they are nobody else's.
    os.umask(os.umask(_OTHERS) | _OTHERS)
    # What a command logs goes where its complaints go; those that serve say how much.
    configure_logs("warning")
    try:
        command()
    except Outage as outage:
        _fail(told(outage))
    except (PinRejected, LoginRefused) as error:
        _fail(str(error), _NOT_AGAIN)
    except (SettingsError, SchemaBehind, DeviceError, ValueError) as error:
        _fail(str(error))
    except OSError as error:  # a file that cannot be read, output that nobody takes
        _fail(f"{error.filename or 'output'}: {error.strerror or error}")
    except Refusal as refusal:
        places = "; ".join(f"{error['pointer']}: {error['detail']}" for error in refusal.errors)
        _fail(places or refusal.detail or refusal.reason)


def _fail(text: str, status: int = 1) -> None:
    print(f"countersign: {text}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
