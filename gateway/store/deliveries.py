"""What is remembered of callbacks: the outbox, who is working on which, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.rules.delivery import START, DeliveryAction, DeliveryStatus, outcomes
from gateway.store.many import append
from gateway.store.rows import row_of
from gateway.store.tables import applications, deliveries, transactions

_NUMBER = (
    sa.update(transactions)
    .where(transactions.c.id == sa.bindparam("of_id"))
    .values(callbacks=transactions.c.callbacks + 1)
    .returning(transactions.c.callbacks)
)
# In the words of the index of what waits, and no parameter: see tables.
_WAITS = deliveries.c.status == sa.literal_column(f"'{DeliveryStatus.PENDING}'")
# SQLite fills a page with the next rows and never again: where a body was there would be room for ever. Among rows that
# are small as well nothing is wasted, and pages that are left empty are used anew.
_PUT_LAST = sa.text("UPDATE deliveries SET rowid = (SELECT max(rowid) + 1 FROM deliveries) WHERE id = :of_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One callback to be made; ``id`` is the webhook-id, the same at every try."""

    id: str
    application_id: str
    transaction_id: str | None
    sequence: int
    type: str
    url: str
    body: str
    tries: int


_row_of_delivery = row_of(Delivery)


def next_sequence(connection: Connection, transaction_id: str) -> int:
    """Return the next number in the order of one transaction's callbacks, from 1."""
    return int(connection.execute(_NUMBER, {"of_id": transaction_id}).scalar_one())


def insert_deliveries(connection: Connection, made: Sequence[Delivery], now: datetime) -> None:
    """Put callbacks into the outbox, due at once."""
    due = {"status": START, "next_at": now, "created_at": now}
    append(connection, deliveries, [{**_row_of_delivery(delivery), **due} for delivery in made])


def outbox(connection: Connection) -> tuple[int, datetime | None]:
    """Return how many callbacks are not ended, and since when the oldest of them is there."""
    asked = sa.select(sa.func.count(), sa.func.min(deliveries.c.created_at))
    row = connection.execute(asked.where(_WAITS)).one()
    return int(row[0]), row[1]


def due_applications(connection: Connection, now: datetime) -> list[str]:
    """Return the applications that have callbacks which could be claimed."""
    waits = sa.select(deliveries.c.id).where(deliveries.c.application_id == applications.c.id, *_due(now))
    return list(connection.execute(sa.select(applications.c.id).where(waits.exists())).scalars())


def claim_deliveries(
    connection: Connection, now: datetime, until: datetime, room: Mapping[str, int]
) -> list[Delivery]:
    """Take due callbacks that nobody works on; of one transaction only the first that is not ended.

    A worker that is killed loses its claim when ``until`` has passed.

    Args:
        connection: an open unit.
        now: what is due by now.
        until: end of the claim.
        room: how many to take at most, of each application.
    """
    claimed = []
    for application_id, most in room.items():
        due = (
            sa.select(deliveries)
            .where(deliveries.c.application_id == application_id, *_due(now))
            .order_by(deliveries.c.next_at)
            .limit(most)
            .with_for_update(skip_locked=True, of=deliveries)
        )
        claimed += [_delivery(row) for row in connection.execute(due)]
    if claimed:
        connection.execute(
            sa.update(deliveries)
            .where(deliveries.c.id.in_([delivery.id for delivery in claimed]))
            .values(claimed_until=until)
        )
    return claimed


def _due(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    earlier = deliveries.alias("earlier")
    blocked = (
        sa.select(earlier.c.id)
        .where(
            earlier.c.transaction_id == deliveries.c.transaction_id,
            earlier.c.sequence < deliveries.c.sequence,
            earlier.c.status == DeliveryStatus.PENDING,
        )
        .exists()
    )
    free = sa.or_(deliveries.c.claimed_until.is_(None), deliveries.c.claimed_until <= now)
    return _WAITS, deliveries.c.next_at <= now, free, ~blocked


def note_try(
    connection: Connection,
    delivery_id: str,
    action: DeliveryAction,
    error: str | None,
    *,
    now: datetime,
    next_at: datetime | None = None,
    tried: bool = True,
) -> None:
    """Note what a try led to, in the states where the rules have it change something.

    A delivered body is dropped; one that was given up stays to be looked at.

    Args:
        connection: an open unit.
        delivery_id: which callback.
        action: what the try led to.
        error: why it failed; None if it did not.
        now: the present moment.
        next_at: when the next try is due; None after the last.
        tried: False where it was given up untried.
    """
    values: dict[str, Any] = {"error": error, "claimed_until": None, "tries": deliveries.c.tries + int(tried)}
    values |= {"ended_at": now} if next_at is None else {"next_at": next_at}
    for before, after in outcomes(action).items():
        kept = {"body": None} if after is DeliveryStatus.DELIVERED else {}
        written = connection.execute(
            sa.update(deliveries)
            .where(deliveries.c.id == delivery_id, deliveries.c.status == before)
            .values(status=after, **values, **kept)
        )
        if written.rowcount == 1:
            if kept and connection.dialect.name == "sqlite":
                connection.execute(_PUT_LAST, {"of_id": delivery_id})
            return


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        application_id=row.application_id,
        transaction_id=row.transaction_id,
        sequence=row.sequence,
        type=row.type,
        url=row.url,
        body=row.body,
        tries=row.tries,
    )
