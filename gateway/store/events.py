"""What is remembered of all that happened: an append-only log, and its pages.

On PostgreSQL units that append side by side get their numbers before they commit, so a later number can be there
before an earlier one. Whoever reads on from the last number seen would then lose the earlier line. Therefore each unit
that appends holds a shared advisory lock until it ends. The lock names a number, after which all lines of the unit come
(a trigger takes it, see the migration). Pages end at the least number that is held.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.rules.event import EventType
from gateway.store.many import append
from gateway.store.rows import row_of
from gateway.store.tables import events

# The locks' keys are the marker and, in the lower 48 bits, a number.
APPENDING = 0x4353
_LAST = sa.text("SELECT last_value - CASE WHEN is_called THEN 0 ELSE 1 END FROM events_number_seq")
_NEWEST = sa.select(sa.func.coalesce(sa.func.max(events.c.number), 0))
_LEAST_HELD = sa.text(
    "SELECT min((classid::bigint & 65535) << 32 | objid::bigint) FROM pg_locks WHERE locktype = 'advisory' "
    "AND objsubid = 1 AND classid::bigint >> 16 = :appending "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the log. Never content, keys, PINs or full codes of others."""

    id: str
    type: str
    result: str
    reason: str | None = None
    application_id: str | None = None
    user_id: str | None = None
    keyset_id: str | None = None
    transaction_id: str | None = None
    action: str | None = None
    address: str | None = None
    body_sha256: bytes | None = None
    authcode: bytes | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    request_id: str | None = None
    created_at: datetime


_row_of_event = row_of(Event)
_ASKED = (EventType.REQUEST, EventType.AUTHENTICATION_FAILED)


def append_events(connection: Connection, lines: Sequence[Event]) -> None:
    """Append the lines in their order."""
    append(connection, events, [_row_of_event(line) for line in lines])


@dataclass(frozen=True, slots=True)
class Horizon:
    """How far the log can be read: ``last`` is the newest number given out, ``complete`` has no gap before it."""

    last: int
    complete: int


def horizon(connection: Connection) -> Horizon:
    """Return how far the log can be read; on SQLite, where one unit writes at a time, that is all there is.

    On PostgreSQL the order counts: who takes a number after the first statement is beyond ``last``. Who took one before
    still holds its lock at the second, or has ended: its lines are seen by units that begin later, by those alone.
    """
    if connection.dialect.name == "sqlite":
        newest = int(connection.execute(_NEWEST).scalar_one())
        return Horizon(newest, newest)
    last = int(connection.execute(_LAST).scalar_one())
    held = connection.execute(_LEAST_HELD, {"appending": APPENDING}).scalar_one()
    return Horizon(last, last if held is None else min(last, int(held)))


def list_events(
    connection: Connection,
    application_id: str | None,
    *,
    filters: dict[str, str],
    after: int,
    through: int,
    limit: int,
    newest: bool = False,
) -> list[tuple[int, Event]]:
    """Return (number, event) of the application, oldest first.

    Args:
        connection: an open unit.
        application_id: whose events; None: everybody's, for the operator.
        filters: column name to wanted value; names are ``user_id``, ``keyset_id``, ``transaction_id``, ``type``.
        after: number of the last line of the page before, 0 for the first page.
        through: most number; ``Horizon.complete``, asked for in a unit that ended before this one began.
        limit: most lines.
        newest: choose the newest where there are more; they come oldest first all the same.
    """
    statement = _between(after, through, limit)
    if newest:
        statement = statement.order_by(None).order_by(events.c.number.desc())
    if application_id is not None:
        statement = statement.where(events.c.application_id == application_id)
    for name, value in filters.items():
        statement = statement.where(events.c[name] == value)
    found = _lines(connection, statement)
    return found[::-1] if newest else found


def lines_of(
    connection: Connection, application_ids: Collection[str], *, after: int, through: int, limit: int
) -> list[tuple[int, Event]]:
    """Return (number, event) of all these applications, oldest first; the other arguments as in ``list_events``."""
    chosen = events.c.application_id.in_(list(application_ids))
    return _lines(connection, _between(after, through, limit).where(chosen))


def subjects(
    connection: Connection, *, after: int, through: int, limit: int
) -> list[tuple[int, str | None, str | None, str | None]]:
    """Return (number, application, user, transaction) of lines that tell of a change; arguments as of ``list_events``.

    That a phone asked changes nothing: phones that wait would wake each other without end.
    """
    columns = (events.c.number, events.c.application_id, events.c.user_id, events.c.transaction_id)
    changes = events.c.type.not_in(_ASKED)
    rows = connection.execute(_between(after, through, limit).where(changes).with_only_columns(*columns))
    return [(int(number), application, user, transaction) for number, application, user, transaction in rows]


def _between(after: int, through: int, limit: int) -> sa.Select[Any]:
    chosen = sa.select(events).where(events.c.number > after, events.c.number <= through)
    return chosen.order_by(events.c.number).limit(limit)


def _lines(connection: Connection, statement: sa.Select[Any]) -> list[tuple[int, Event]]:
    lines = []
    for row in connection.execute(statement):
        values = dict(row._mapping)
        number = values.pop("number")
        lines.append((int(number), Event(**values)))
    return lines
