"""What is remembered of users: their state and their consecutive failures."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.rules.user import User, UserStatus
from gateway.store.many import among, insert_new
from gateway.store.tables import applications, users

_COLUMNS = tuple(column.name for column in users.c)
_STATUSES = {str(word): word for word in UserStatus}
_THIS = sa.and_(
    users.c.application_id == sa.bindparam("of_application"), users.c.user_id == sa.bindparam("of_user")
)
_BY_ID = sa.select(users).where(_THIS)
# Rows that refer to the user can still be written: their foreign keys want no more than that the user's id stays.
_LOCK = _BY_ID.with_for_update(key_share=True)
# Of one application at a time: by pairs of ids SQLite reads the whole table.
_BY_IDS = sa.select(users).where(
    users.c.application_id == sa.bindparam("of_application"), among(users.c.user_id, "of_users")
)
_LOCK_FREE = _BY_IDS.with_for_update(key_share=True, skip_locked=True)
_RAISE = (
    sa.update(users)
    .where(_THIS, users.c.version == sa.bindparam("seen_version"))
    .values(version=users.c.version + 1)
)
# In the words of the index of those who failed, and no parameter: see tables.
_FAILED = users.c.failures > sa.literal_column("0")
_CLEAR = sa.update(users).where(_THIS, users.c.failures != 0).values(failures=0)


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
        settings=user.settings,
    )


def find_user(connection: Connection, application_id: str, user_id: str) -> User | None:
    """Return the user, or None."""
    row = connection.execute(_BY_ID, _named(application_id, user_id)).one_or_none()
    return None if row is None else user_of(row)


def find_users(connection: Connection, ids: Collection[tuple[str, str]]) -> dict[tuple[str, str], User]:
    """Return those users of these (application, user) that there are, by id."""
    return _several(connection, _BY_IDS, ids)


def failing_applications(connection: Connection) -> list[str]:
    """Return the applications that have users with failures."""
    theirs = sa.select(users.c.user_id).where(users.c.application_id == applications.c.id, _FAILED)
    return list(connection.execute(sa.select(applications.c.id).where(theirs.exists())).scalars())


def failing_users(connection: Connection, application_id: str, least: int, most: int) -> list[User]:
    """Return active users of the application who failed so often in a row or more, those with the most first."""
    rows = connection.execute(
        sa.select(users)
        .where(_FAILED, users.c.application_id == application_id, users.c.failures >= least)
        .where(users.c.status == UserStatus.ACTIVE)
        .order_by(users.c.failures.desc())
        .limit(most)
    )
    return [user_of(row) for row in rows]


def lock_user(connection: Connection, application_id: str, user_id: str) -> User | None:
    """Return the user and keep others from changing it until the unit ends (SQLite has one writer anyway)."""
    row = connection.execute(_LOCK, _named(application_id, user_id)).one_or_none()
    return None if row is None else user_of(row)


def lock_free_users(connection: Connection, ids: Collection[tuple[str, str]]) -> dict[tuple[str, str], User]:
    """Lock those users of these (application, user) that nobody holds at the moment, and return them by id."""
    return _several(connection, _LOCK_FREE, ids)


def _several(
    connection: Connection, statement: sa.Select[Any], ids: Collection[tuple[str, str]]
) -> dict[tuple[str, str], User]:
    found = [user_of(row) for named in of_applications(ids) for row in connection.execute(statement, named)]
    return {(user.application_id, user.user_id): user for user in found}


def of_applications(ids: Collection[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return what statements about users of one application at a time are given, for users of several."""
    theirs: defaultdict[str, list[str]] = defaultdict(list)
    for application_id, user_id in ids:
        theirs[application_id].append(user_id)
    return [{"of_application": name, "of_users": user_ids} for name, user_ids in theirs.items()]


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
    named = _named(seen.application_id, seen.user_id) | {"seen_version": seen.version}
    return connection.execute(_RAISE, named).rowcount == 1


def raise_versions(connection: Connection, seen: Sequence[User]) -> bool:
    """Do the same for several users, locked in this order; False unless it was done for all of them."""
    named = [_named(user.application_id, user.user_id) | {"seen_version": user.version} for user in seen]
    return connection.execute(_RAISE, named).rowcount == len(named)


def change_settings(connection: Connection, seen: User, settings: Mapping[str, Any]) -> bool:
    """Write what is decided for the user alone, if nobody changed the user since it was seen."""
    statement = (
        sa.update(users)
        .where(_is(seen.application_id, seen.user_id), users.c.version == seen.version)
        .values(settings=dict(settings) or None, version=users.c.version + 1)
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
    connection.execute(_CLEAR, _named(application_id, user_id))


def _is(application_id: str, user_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(users.c.application_id == application_id, users.c.user_id == user_id)


def _named(application_id: str, user_id: str) -> dict[str, Any]:
    return {"of_application": application_id, "of_user": user_id}


def user_of(row: Row[Any] | tuple[Any, ...]) -> User:
    """Return the user of a whole row."""
    values = dict(zip(_COLUMNS, row, strict=True))
    # A state that does not exist gives no rights, and does not fit what the HSM vouched for in the user's keysets.
    values["status"] = _STATUSES.get(values["status"], UserStatus.DELETED)
    return User(**values)
