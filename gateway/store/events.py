"""What is remembered of all that happened: an append-only log, and its pages."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.store.tables import events


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


def append_events(connection: Connection, lines: Sequence[Event]) -> None:
    """Append the lines in their order."""
    if lines:
        connection.execute(sa.insert(events), [asdict(line) for line in lines])


def list_events(
    connection: Connection,
    application_id: str,
    *,
    filters: dict[str, str],
    after: int,
    limit: int,
) -> list[tuple[int, Event]]:
    """Return (number, event) of the application, oldest first, after the given number.

    Args:
        connection: an open unit.
        application_id: whose events.
        filters: column name to wanted value; names are ``user_id``, ``transaction_id``, ``type``.
        after: number of the last line of the page before, 0 for the first page.
        limit: most lines.
    """
    statement = sa.select(events).where(events.c.application_id == application_id, events.c.number > after)
    for name, value in filters.items():
        statement = statement.where(events.c[name] == value)
    lines = []
    for row in connection.execute(statement.order_by(events.c.number).limit(limit)):
        values = dict(row._mapping)
        number = values.pop("number")
        lines.append((int(number), Event(**values)))
    return lines
