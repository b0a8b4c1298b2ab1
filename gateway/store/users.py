"""What is remembered of users: their state and their consecutive failures."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.rules.user import User, UserStatus
from gateway.store.database import insert_new
from gateway.store.tables import users


def insert_user(connection: Connection, user: User) -> bool:
    """Add the user; False when the id is taken, also by a deleted user."""
    return insert_new(
        connection,
        users,
        application_id=user.application_id,
        user_id=user.user_id,
        status=user.status,
        reason=user.reason,
        failures=user.failures,
        version=user.version,
        created_at=user.created_at,
    )


def find_user(connection: Connection, application_id: str, user_id: str) -> User | None:
    """Return the user, or None."""
    row = connection.execute(_select(application_id, user_id)).one_or_none()
    return None if row is None else _user(row)


def failing_users(connection: Connection, most: int) -> list[User]:
    """Return active users with failures, those with the most first."""
    rows = connection.execute(
        sa.select(users)
        .where(users.c.failures > 0, users.c.status == UserStatus.ACTIVE)
        .order_by(users.c.failures.desc())
        .limit(most)
    )
    return [_user(row) for row in rows]


def lock_user(connection: Connection, application_id: str, user_id: str) -> User | None:
    """Return the user and keep others from changing it until the unit ends (SQLite has one writer anyway).

    Rows that refer to the user can still be written: their foreign keys want no more than that the user's id stays.
    """
    statement = _select(application_id, user_id).with_for_update(key_share=True)
    row = connection.execute(statement).one_or_none()
    return None if row is None else _user(row)


def change_user(connection: Connection, seen: User, *, status: UserStatus, reason: str | None) -> bool:
    """Write state and reason if nobody changed the user since it was seen; clears the failures."""
    statement = (
        sa.update(users)
        .where(_is(seen.application_id, seen.user_id), users.c.version == seen.version)
        .values(status=status, reason=reason, failures=0, version=users.c.version + 1)
    )
    return connection.execute(statement).rowcount == 1


def raise_version(connection: Connection, seen: User) -> bool:
    """Mark that the user's keysets change; False if user or keysets changed since they were seen."""
    statement = (
        sa.update(users)
        .where(_is(seen.application_id, seen.user_id), users.c.version == seen.version)
        .values(version=users.c.version + 1)
    )
    return connection.execute(statement).rowcount == 1


def count_failure(connection: Connection, application_id: str, user_id: str) -> int:
    """Count one more consecutive failure and return the new number."""
    statement = (
        sa.update(users)
        .where(_is(application_id, user_id))
        .values(failures=users.c.failures + 1)
        .returning(users.c.failures)
    )
    return int(connection.execute(statement).scalar_one())


def clear_failures(connection: Connection, application_id: str, user_id: str) -> None:
    """Start counting from zero: an answer was right."""
    connection.execute(
        sa.update(users).where(_is(application_id, user_id), users.c.failures > 0).values(failures=0)
    )


def _is(application_id: str, user_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(users.c.application_id == application_id, users.c.user_id == user_id)


def _select(application_id: str, user_id: str) -> sa.Select[Any]:
    return sa.select(users).where(_is(application_id, user_id))


def _user(row: Row[Any]) -> User:
    values = dict(row._mapping)
    # A state that does not exist gives no rights, and does not fit what the HSM vouched for in the user's keysets.
    status = next((known for known in UserStatus if known == values["status"]), UserStatus.DELETED)
    return User(**{**values, "status": status})
