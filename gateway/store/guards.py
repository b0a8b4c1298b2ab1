"""What was seen before: request authentication codes that were used, and idempotency keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.store.database import Collision
from gateway.store.many import insert_new, insert_where_new
from gateway.store.tables import idempotency, replays

_THIS = sa.and_(
    idempotency.c.application_id == sa.bindparam("of_application"),
    idempotency.c.key == sa.bindparam("of_key"),
)
_REMEMBERED = sa.select(idempotency).where(_THIS)
_FINISH = (
    sa.update(idempotency)
    .where(_THIS)
    .values(resource=sa.bindparam("to_resource"), expires_at=sa.bindparam("until"))
)

_FORGET_RESULT = sa.delete(idempotency).where(_THIS, idempotency.c.resource == sa.bindparam("of_resource"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """An idempotency key that was used: for which request, and what came of it (None while it runs)."""

    request_sha256: bytes
    resource: str | None


def use_authcodes(
    connection: Connection, used: Sequence[tuple[str, bytes]], expires_at: datetime
) -> set[tuple[str, bytes]]:
    """Mark codes, each given with its keyset, as used; return those that were not, by whichever process.

    They are marked in one order, so that two units that have some in common do not wait for each other in a circle.
    """
    rows = [
        {"keyset_id": keyset_id, "authcode": authcode, "expires_at": expires_at}
        for keyset_id, authcode in sorted(used)
    ]
    return {(keyset_id, bytes(code)) for keyset_id, code in insert_where_new(connection, replays, rows)}


def remember_request(
    connection: Connection, application_id: str, key: str, request_sha256: bytes, expires_at: datetime
) -> Remembered | None:
    """Claim the key for this request; None when it is ours now, else what is remembered under it."""
    fresh = insert_new(
        connection,
        idempotency,
        application_id=application_id,
        key=key,
        request_sha256=request_sha256,
        resource=None,
        expires_at=expires_at,
    )
    if fresh:
        return None
    return find_request(connection, application_id, key)


def remember_results(
    connection: Connection, made: Sequence[tuple[str, str, bytes, str]], expires_at: datetime
) -> set[tuple[str, str]]:
    """Claim keys for requests that are finished with this unit; return the (application, key) that are theirs now.

    They are claimed in one order, so that two units that have some in common do not wait for each other in a circle.

    Args:
        connection: an open unit.
        made: application, key, hash of the request, and the id of what came of it, of each.
        expires_at: until when they are remembered.
    """
    if not made:
        return set()
    rows = [
        {
            "application_id": application_id,
            "key": key,
            "request_sha256": request_sha256,
            "resource": resource,
            "expires_at": expires_at,
        }
        for application_id, key, request_sha256, resource in sorted(made)
    ]
    return {(application_id, key) for application_id, key in insert_where_new(connection, idempotency, rows)}


def find_request(connection: Connection, application_id: str, key: str) -> Remembered:
    """Return what is remembered under a key that is taken. Raises Collision if it was given back at this moment."""
    row = connection.execute(_REMEMBERED, {"of_application": application_id, "of_key": key}).one_or_none()
    if row is None:
        raise Collision("an idempotency key was given back while it was asked for")
    return Remembered(request_sha256=row.request_sha256, resource=row.resource)


def finish_request(
    connection: Connection, application_id: str, key: str, resource: str, expires_at: datetime
) -> None:
    """Note what came of the request, and until when it is remembered."""
    named = {"of_application": application_id, "of_key": key}
    connection.execute(_FINISH, {**named, "to_resource": resource, "until": expires_at})


def forget_request(connection: Connection, application_id: str, key: str) -> None:
    """Free the key: the request failed and changed nothing."""
    connection.execute(
        sa.delete(idempotency).where(
            idempotency.c.application_id == application_id,
            idempotency.c.key == key,
            idempotency.c.resource.is_(None),
        )
    )


def forget_result(connection: Connection, application_id: str, key: str, resource: str) -> None:
    """Free the key of what was not made after all, in the unit that claimed it."""
    named = {"of_application": application_id, "of_key": key, "of_resource": resource}
    connection.execute(_FORGET_RESULT, named)


def forget_expired(connection: Connection, now: datetime, most: int) -> bool:
    """Drop what is too old to matter, of each kind not many more than ``most``; say whether there is more.

    However much there is after a time without a worker, nobody waits long for a unit that drops it.
    """
    more = [
        _forget_oldest(connection, sa.delete(replays), replays.c.expires_at, now, most),
        _forget_oldest(connection, sa.delete(idempotency), idempotency.c.expires_at, now, most),
    ]
    return any(more)


def _forget_oldest(
    connection: Connection, gone: sa.Delete, expires_at: sa.Column[datetime], now: datetime, most: int
) -> bool:
    old = expires_at < now
    last = sa.select(expires_at).where(old).order_by(expires_at).offset(most).limit(1)
    through = connection.execute(last).scalar_one_or_none()
    connection.execute(gone.where(old if through is None else expires_at <= through))
    return through is not None
