"""What did a user answer, when, with which keys and which device: pages over the attempts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.store.tables import attempts, keysets
from gateway.store.transactions import Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which answers are asked for; what is None does not matter."""

    keyset_id: str | None = None
    device_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def answers_of(
    connection: Connection, application_id: str, user_id: str, wanted: Wanted, *, after: str, limit: int
) -> Sequence[Attempt]:
    """Return a page of what the user answered, oldest first.

    Args:
        connection: an open unit.
        application_id: whose user.
        user_id: which user.
        wanted: which answers.
        after: id of the last attempt of the page before, empty for the first page.
        limit: most answers.
    """
    statement = (
        sa.select(attempts)
        .join(keysets, keysets.c.id == attempts.c.keyset_id)
        .where(
            keysets.c.application_id == application_id, keysets.c.user_id == user_id, attempts.c.id > after
        )
    )
    if wanted.keyset_id is not None:
        statement = statement.where(keysets.c.id == wanted.keyset_id)
    if wanted.device_id is not None:
        statement = statement.where(keysets.c.device_id == wanted.device_id)
    if wanted.since is not None:
        statement = statement.where(attempts.c.created_at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(attempts.c.created_at < wanted.until)
    found = []
    for row in connection.execute(statement.order_by(attempts.c.id).limit(limit)):
        values = dict(row._mapping)
        values["verified"] = tuple(values["verified"])
        found.append(Attempt(**values))
    return found
