"""Which command reads the event log: a page for people, or JSON lines for programs."""

import json
from typing import Annotated

import typer

from gateway import assembly
from gateway.commands.screen import lay_out, plain, screen, show
from gateway.rules.event import EventType
from gateway.scenarios.representation import event_view
from gateway.settings import load_settings
from gateway.store import applications, events, schema
from gateway.store.events import Event

_out = screen()


def list_events(
    *,
    application: Annotated[
        str | None, typer.Option(help="Id or name of an application; all without it.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Only about this user.")] = None,
    keyset: Annotated[str | None, typer.Option(help="Only about this keyset.")] = None,
    transaction: Annotated[str | None, typer.Option(help="Only about this transaction.")] = None,
    kind: Annotated[str | None, typer.Option("--type", help="Only of this type.")] = None,
    after: Annotated[int, typer.Option(min=0, help="Go on after the event of this number.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most events.")] = 100,
    newest: Annotated[bool, typer.Option("--newest", help="Of more events than that, the newest.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each event.")] = False,
) -> None:
    """Read the event log, oldest first. Needs the database, not the token."""
    if kind is not None and kind not in list(EventType):
        raise ValueError(f"there is no type of events {kind!r}; docs/reference/events.md lists them")
    wanted = {"user_id": user, "keyset_id": keyset, "transaction_id": transaction, "type": kind}
    filters = {name: value for name, value in wanted.items() if value is not None}
    found = _read(application, filters, after, limit, newest=newest)
    if as_json:
        for number, event in found:
            print(json.dumps(event_view(number, event) | {"application": event.application_id}))
        return
    names = ("number", "time", "type", "result", "reason", "user", "about")
    table = lay_out(*names)
    for number, event in found:
        about = event.transaction_id or event.keyset_id or ""
        at = event.created_at.isoformat(" ", "seconds").removesuffix("+00:00")
        cells = (str(number), at, event.type, event.result, event.reason or "", event.user_id or "", about)
        table.add_row(*map(plain, cells))
    show(_out, table)
    if len(found) == limit and not newest:
        _out.print(f"There may be more: --after {found[-1][0]}")


def _read(
    named: str | None, filters: dict[str, str], after: int, limit: int, *, newest: bool
) -> list[tuple[int, Event]]:
    database = assembly.open_database(load_settings())
    try:
        schema.require_current(database)
        application_id = None
        with database.reading() as connection:
            horizon = events.horizon(connection)
            if named is not None:
                found = applications.find_named_application(connection, named)
                if found is None:
                    raise ValueError(f"there is no application {named!r}")
                application_id = found.id
        with database.reading() as connection:
            return events.list_events(
                connection,
                application_id,
                filters=filters,
                after=after,
                through=horizon.complete,
                limit=limit,
                newest=newest,
            )
    finally:
        database.close()
