"""Which commands are there for application systems: add, list, point callbacks, give and take API keys."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from gateway import assembly
from gateway.commands.screen import lay_out, plain, screen, show
from gateway.rules import policy as policies
from gateway.scenarios import operating
from gateway.scenarios.access import DEFAULT_SCOPES, EXTRA_SCOPES
from gateway.scenarios.context import Context
from gateway.scenarios.operating import Listed
from gateway.settings import load_settings
from gateway.wire.timestep import format_time

T = TypeVar("T")

application = typer.Typer(no_args_is_help=True, help="Application systems that may use the gateway.")
credential = typer.Typer(no_args_is_help=True, help="API keys of application systems.")
application.add_typer(credential, name="credential")

_out = screen()
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Named = Annotated[str, typer.Argument(help="Id or name of the application.")]
_Scopes = Annotated[
    list[str] | None, typer.Option(help=f"Further scope; off by default: {', '.join(EXTRA_SCOPES)}.")
]


@application.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Name of the application system, for people.")],
    callback: Annotated[str | None, typer.Option(help="Address its callbacks go to.")] = None,
    scope: _Scopes = None,
    policy: Annotated[Path | None, typer.Option(help="JSON file with the policy values that differ.")] = None,
    as_json: _Json = False,
) -> None:
    """Add an application and show its API key and callback secret, this once."""
    put = policies.from_json({} if policy is None else _read_policy(policy))
    new = _run(
        lambda ctx: operating.add_application(ctx, name, callback, (*DEFAULT_SCOPES, *(scope or ())), put)
    )
    shown = {"application": new.id, "api_key": new.api_key, "webhook_secret": new.webhook_secret}
    _show_once(shown, "Key and secret are", as_json=as_json)


@application.command("list")
def list_all(as_json: _Json = False) -> None:
    """List the applications with their callback addresses and credentials; keys are never shown again."""
    found = _run(operating.list_applications)
    if as_json:
        print(json.dumps([_listed(each) for each in found], indent=2))
        return
    names = ("application", "name", "callback", "credential", "scopes off by default", "revoked")
    table = lay_out(*names)
    for each in found:
        about = each.application
        for number, key in enumerate(each.credentials):
            who = (about.id, about.name, about.callback_url or "none") if number == 0 else ("", "", "")
            extra = ", ".join(name for name in key.scopes if name in EXTRA_SCOPES)
            table.add_row(*map(plain, (*who, key.id, extra, _time(key.revoked_at) or "")))
    show(_out, table)


@application.command("callback")
def callback_to(
    named: _Named,
    address: Annotated[str | None, typer.Argument(help="Where callbacks go from now on.")] = None,
    none: Annotated[bool, typer.Option("--none", help="Send no callbacks any more.")] = False,
) -> None:
    """Point the callbacks of an application at another address; to another host, those that wait go there as well."""
    if (address is None) != none:
        raise ValueError("name an address, or say --none")
    changed = _run(lambda ctx: operating.set_callback(ctx, named, address))
    _out.print(f"callbacks of {changed.id}: {address or 'none'}", soft_wrap=True, highlight=False)


@credential.command("add")
def credential_add(named: _Named, scope: _Scopes = None, as_json: _Json = False) -> None:
    """Give an application one more API key and show it, this once; revoke the old one when it is in use."""
    made, api_key = _run(lambda ctx: operating.add_credential(ctx, named, (*DEFAULT_SCOPES, *(scope or ()))))
    _show_once({"credential": made.id, "api_key": api_key}, "Id and key are", as_json=as_json)


@credential.command("revoke")
def credential_revoke(
    credential_id: Annotated[
        str, typer.Argument(help="Id of the credential, as `application list` shows it.")
    ],
) -> None:
    """Take an API key back, at once and for good."""
    _run(lambda ctx: operating.revoke_credential(ctx, credential_id))
    _out.print(f"revoked: {credential_id}", highlight=False)


def _run(work: Callable[[Context], Coroutine[Any, Any, T]]) -> T:
    """Run one scenario on the token and database of the settings."""
    settings = load_settings()

    async def opened() -> T:
        with assembly.open_context(settings) as context:
            return await work(context)

    return asyncio.run(opened())


def _read_policy(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_bytes())
    except ValueError as error:
        raise ValueError(f"{file} is no JSON: {error}") from None
    if isinstance(values, dict):
        return values
    raise ValueError(f'{file} must hold a JSON object, such as {{"devices_most": 3}}')


def _show_once(shown: dict[str, str], what: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(shown))
        return
    for label, value in shown.items():
        _out.print(f"{label}: {value}", soft_wrap=True, highlight=False)
    _out.print(
        f"{what} shown this once; keep them where the application alone can read them.", soft_wrap=True
    )


def _listed(found: Listed) -> dict[str, Any]:
    about = found.application
    return {
        "application": about.id,
        "name": about.name,
        "callback": about.callback_url,
        "policy_version": about.policy_version,
        "created_at": _time(about.created_at),
        "credentials": [
            {
                "credential": each.id,
                "scopes": list(each.scopes),
                "created_at": _time(each.created_at),
                "revoked_at": _time(each.revoked_at),
            }
            for each in found.credentials
        ],
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)
