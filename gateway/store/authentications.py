"""What is remembered of authentications by content that a phone made: each with its proofs, never with the content."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, CursorResult, Row

from gateway.store.many import insert_new
from gateway.store.rows import row_of
from gateway.store.tables import authentications


@dataclass(frozen=True, slots=True, kw_only=True)
class Authentication:
    """One authentication that was accepted: under which rule, what was presented, and what was verified."""

    id: str
    application_id: str
    user_id: str
    keyset_id: str
    rule: str
    channel: str
    media_type: str
    content_sha256: bytes
    message_sha256: bytes
    step: int
    code: bytes
    signature: bytes | None
    verified: tuple[str, ...]
    device: dict[str, Any]
    receipt: str
    scoring: dict[str, Any] | None = None
    created_at: datetime


_row_of = row_of(Authentication)
_BY_ID = sa.select(authentications).where(
    authentications.c.id == sa.bindparam("of_id"),
    authentications.c.application_id == sa.bindparam("of_application"),
)
_BY_MESSAGE = sa.select(authentications).where(
    authentications.c.keyset_id == sa.bindparam("of_keyset"),
    authentications.c.message_sha256 == sa.bindparam("of_message"),
)


def insert_authentication(connection: Connection, made: Authentication) -> bool:
    """Add it; False when this message of the keyset served before, here or in another process."""
    return insert_new(connection, authentications, **{**_row_of(made), "verified": list(made.verified)})


def find_authentication(
    connection: Connection, application_id: str, authentication_id: str
) -> Authentication | None:
    """Return the application's authentication, or None."""
    return _one(connection.execute(_BY_ID, {"of_id": authentication_id, "of_application": application_id}))


def find_by_message(connection: Connection, keyset_id: str, message_sha256: bytes) -> Authentication | None:
    """Return the authentication for which this message of the keyset served, or None."""
    return _one(connection.execute(_BY_MESSAGE, {"of_keyset": keyset_id, "of_message": message_sha256}))


def list_authentications(
    connection: Connection, application_id: str, user_id: str, *, after: str | None, limit: int
) -> list[Authentication]:
    """Return authentications of the user, newest first; ``after`` is the last id of the page before."""
    statement = sa.select(authentications).where(
        authentications.c.application_id == application_id, authentications.c.user_id == user_id
    )
    if after is not None:
        statement = statement.where(authentications.c.id < after)
    rows = connection.execute(statement.order_by(authentications.c.id.desc()).limit(limit))
    return [_authentication(row) for row in rows]


def _one(found: CursorResult[Any]) -> Authentication | None:
    row = found.one_or_none()
    return None if row is None else _authentication(row)


def _authentication(row: Row[Any]) -> Authentication:
    return Authentication(**{**row._mapping, "verified": tuple(row.verified)})
