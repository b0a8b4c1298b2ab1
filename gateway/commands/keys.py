"""Which commands are there for the gateway's own keys: list their versions, make a new one, retire an old one."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import typer

from gateway import assembly
from gateway.commands.screen import lay_out, screen, show
from gateway.scenarios import rotation
from gateway.scenarios.context import Context
from gateway.scenarios.orphans import destroy_orphans, find_orphans
from gateway.scenarios.rotation import Listed, Progress
from gateway.settings import Settings, load_settings

T = TypeVar("T")
_LEARNED_AFTER = 2  # intervals, after which every process knows a new version

keys = typer.Typer(no_args_is_help=True, help="The gateway's own keys on the token.")
_out = screen()


class Rotated(StrEnum):
    """Which keys can get a new version."""

    BINDING = "binding"
    MASTER = "master"
    RECEIPT = "receipt"


@keys.command("list")
def list_all(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the versions of keys that can be rotated, and how many rows rest on each. Reads every row."""
    found = _run(lambda ctx, _: rotation.list_versions(ctx))
    if as_json:
        print(json.dumps([_listed(each) for each in found]))
        return
    table = lay_out("key", "version", "on the token", "used by")
    for each in found:
        used = ", ".join(f"{rows} {what}" for what, rows in each.used.items()) or "nothing"
        table.add_row(each.name, str(each.version), "yes" if each.on_token else "NO", used)
    show(_out, table)


def _listed(found: Listed) -> dict[str, Any]:
    return {"name": found.name, "version": found.version, "on_token": found.on_token, **found.used}


@keys.command()
def orphans(
    destroy: Annotated[bool, typer.Option("--destroy", help="Destroy them, for ever.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List keys of users on the token that no row names: the database is older than the token, or somebody wrote to it.

    Reads the whole token and every row. A newer backup of the database may name them, and keys of another installation
    on the same token look the same: destroy them when there is neither.
    """
    work = destroy_orphans if destroy else find_orphans
    found = _run(lambda ctx, _: work(ctx))
    if as_json:
        print(json.dumps([*found]))
        return
    for uri in found:
        _out.print(uri, highlight=False, soft_wrap=True)
    _out.print(f"{len(found)} {'destroyed' if destroy else 'that no row names'}", highlight=False)


@keys.command()
def rotate(
    name: Annotated[Rotated, typer.Argument(help="Which key.")],
) -> None:
    """Make a new version and use it from now on, while everything runs; killed on the way, it goes on when run again.

    `binding`: every row is verified under its old version and bound to the new one. `master`: keys of new keysets are
    derived from the new version; those there are keep theirs until they are renewed. `receipt`: receipts are signed by
    the new version; the old public key stays in the JWK Set, with the time until which it signed.
    """
    if name is Rotated.RECEIPT:
        version = _run(lambda ctx, settings: rotation.rotate_receipt(ctx, _patience(settings)))
        _out.print(f"receipt {version} signs from now on")
        return
    if name is Rotated.MASTER:
        version = _run(lambda ctx, _: rotation.rotate_master(ctx))
        _out.print(
            f"master {version} is used for new keysets; `countersign keys list` says who uses an older one"
        )
        return
    _report(_run(lambda ctx, settings: rotation.rotate_binding(ctx, _tell(), _patience(settings))))


@keys.command()
def retire(
    name: Annotated[Rotated, typer.Argument(help="Which key.")],
    version: Annotated[int, typer.Argument(help="Which version; never the newest.")],
) -> None:
    """Destroy an old version of a key on the token, for ever, if no row uses it. Waits until no process does, either.

    Backups of the database that were made before its rotation are of no use afterwards.
    """

    async def retired(ctx: Context, settings: Settings) -> None:
        await rotation.retire(ctx, str(name), version, lambda: asyncio.sleep(_patience(settings)))

    _run(retired)
    _out.print(f"{name} {version} is destroyed")


def _patience(settings: Settings) -> float:
    return _LEARNED_AFTER * settings.canary_seconds


def _tell() -> Callable[[Progress], None]:
    told = [-1]

    def tell(progress: Progress) -> None:
        percent = 100 * progress.done // max(1, progress.rows)
        if percent != told[0]:
            told[0] = percent
            _out.print(
                f"binding {progress.version}: {progress.done} of {progress.rows} rows", highlight=False
            )

    return tell


def _report(progress: Progress) -> None:
    _out.print(
        f"binding {progress.version}: {progress.done} rows bound, {progress.left} left", highlight=False
    )
    for row in sorted(progress.broken):
        _out.print(f"not the one the HSM vouched for, left as it is: {row}", highlight=False)
    if not progress.is_complete:
        raise typer.Exit(1)


def _run(work: Callable[[Context, Settings], Coroutine[Any, Any, T]]) -> T:
    settings = load_settings()

    async def opened() -> T:
        with assembly.open_context(settings) as context:
            return await work(context, settings)

    return asyncio.run(opened())
