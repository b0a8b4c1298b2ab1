"""What is remembered of keysets: handles, states, and what the HSM vouched for."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.rules.keyset import Delivery, Keyset, KeysetStatus
from gateway.rules.user import User
from gateway.store.many import among, append
from gateway.store.rows import row_of
from gateway.store.tables import keysets, users
from gateway.store.users import of_applications, user_of

_COLUMNS = tuple(column.name for column in keysets.c)
_row_of_keyset = row_of(Keyset)
_INSERT = sa.insert(keysets)
_IS_OF_USER = sa.and_(
    keysets.c.application_id == sa.bindparam("application_id"),
    keysets.c.user_id == sa.bindparam("user_id"),
)
_OF_USER = sa.select(keysets).where(_IS_OF_USER).order_by(keysets.c.id)
_OF_THESE_USERS = sa.and_(
    keysets.c.application_id == sa.bindparam("of_application"), among(keysets.c.user_id, "of_users")
)
_NOT_LAPSED = sa.or_(keysets.c.lapses_at.is_(None), keysets.c.lapses_at > sa.bindparam("now"))
_CAN_CONFIRM = sa.select(keysets.c.user_id, keysets.c.status).where(
    _OF_THESE_USERS,
    keysets.c.valid_until > sa.bindparam("now"),
    sa.or_(
        keysets.c.status == KeysetStatus.ACTIVE,
        sa.and_(keysets.c.status == KeysetStatus.ISSUED, keysets.c.renews.is_(None), _NOT_LAPSED),
    ),
)
_OF_USERS = sa.select(keysets).where(_OF_THESE_USERS).order_by(keysets.c.id)
_BY_ID = sa.select(keysets).where(keysets.c.id == sa.bindparam("id"))
_BY_IDS = sa.select(keysets).where(among(keysets.c.id, "ids"))
_WITH_USERS = (
    sa.select(keysets, users)
    .join(
        users,
        sa.and_(users.c.application_id == keysets.c.application_id, users.c.user_id == keysets.c.user_id),
    )
    .where(among(keysets.c.id, "ids"))
)
_STATUSES = {str(word): word for word in KeysetStatus}
_DELIVERIES = {str(word): word for word in Delivery}


def insert_keyset(connection: Connection, keyset: Keyset) -> None:
    """Add a keyset."""
    connection.execute(_INSERT, _row_of_keyset(keyset))


def insert_keysets(connection: Connection, several: Sequence[Keyset]) -> None:
    """Add keysets."""
    append(connection, keysets, [_row_of_keyset(each) for each in several])


def find_keyset(connection: Connection, keyset_id: str) -> Keyset | None:
    """Return the keyset of this id, whatever its state, or None."""
    row = connection.execute(_BY_ID, {"id": keyset_id}).one_or_none()
    return None if row is None else _keyset(row)


def find_keysets(connection: Connection, keyset_ids: Collection[str]) -> dict[str, Keyset]:
    """Return the keysets of these ids that there are, by id."""
    found = [_keyset(row) for row in connection.execute(_BY_IDS, {"ids": keyset_ids})]
    return {keyset.id: keyset for keyset in found}


def find_with_users(connection: Connection, keyset_ids: Sequence[str]) -> dict[str, tuple[Keyset, User]]:
    """Return the keysets of these ids that there are, by id, each with its user as of the same moment."""
    rows = connection.execute(_WITH_USERS, {"ids": keyset_ids})
    split = len(_COLUMNS)
    pairs = [(_keyset(row[:split]), user_of(row[split:])) for row in rows]
    return {keyset.id: (keyset, user) for keyset, user in pairs}


def keysets_of(connection: Connection, application_id: str, user_id: str) -> list[Keyset]:
    """Return every keyset the user ever had, oldest first."""
    rows = connection.execute(_OF_USER, {"application_id": application_id, "user_id": user_id})
    return [_keyset(row) for row in rows]


def keysets_of_users(
    connection: Connection, ids: Collection[tuple[str, str]]
) -> dict[tuple[str, str], list[Keyset]]:
    """Return every keyset that each of these (application, user) ever had, oldest first."""
    found: dict[tuple[str, str], list[Keyset]] = {name: [] for name in ids}
    for named in of_applications(ids):
        for row in connection.execute(_OF_USERS, named):
            keyset = _keyset(row)
            found[keyset.application_id, keyset.user_id].append(keyset)
    return found


def keysets_naming(connection: Connection, uri: str) -> list[Keyset]:
    """Return every keyset, whatever its state, that names this key as one of its own."""
    named = sa.or_(keysets.c.khmac == uri, keysets.c.kauth == uri, keysets.c.kpublic == uri)
    return [_keyset(row) for row in connection.execute(sa.select(keysets).where(named))]


def lapsed_keysets(connection: Connection, now: datetime, most: int) -> list[Keyset]:
    """Return issued keysets whose time to register is over."""
    rows = connection.execute(
        sa.select(keysets)
        .where(keysets.c.lapses_at <= now, keysets.c.status == KeysetStatus.ISSUED)
        .order_by(keysets.c.lapses_at)
        .limit(most)
    )
    return [_keyset(row) for row in rows]


def change_keyset(connection: Connection, seen: Keyset, changed: Keyset) -> bool:
    """Replace the row if it still is the one seen (its binding tells), and say whether it was."""
    values = {name: value for name, value in _row_of_keyset(changed).items() if value != getattr(seen, name)}
    values["binding"] = changed.binding  # there is always something to write, or it would be no statement
    statement = (
        sa.update(keysets).where(keysets.c.id == seen.id, keysets.c.binding == seen.binding).values(**values)
    )
    return connection.execute(statement).rowcount == 1


def mark_code_given(connection: Connection, keyset_id: str, now: datetime) -> bool:
    """Note that the activation code was given out; False when it was before."""
    statement = (
        sa.update(keysets)
        .where(keysets.c.id == keyset_id, keysets.c.code_given_at.is_(None))
        .values(code_given_at=now)
    )
    return connection.execute(statement).rowcount == 1


def who_can_confirm(
    connection: Connection, ids: Collection[tuple[str, str]], now: datetime
) -> dict[tuple[str, str], bool]:
    """Return those of these (application, user) with a keyset that could confirm something now.

    The value says whether one of theirs has Kpublic.
    """
    able: dict[tuple[str, str], bool] = {}
    for named in of_applications(ids):
        for user_id, status in connection.execute(_CAN_CONFIRM, named | {"now": now}):
            who = named["of_application"], user_id
            able[who] = able.get(who, False) or status == KeysetStatus.ACTIVE
    return able


def _keyset(row: Row[Any] | tuple[Any, ...]) -> Keyset:
    values = dict(zip(_COLUMNS, row, strict=True))
    # Unknown words are no error here: whoever uses the row asks the HSM whether it vouches for it.
    values["status"] = _STATUSES.get(values["status"], KeysetStatus.UNREADABLE)
    values["delivery"] = _DELIVERIES.get(values["delivery"], Delivery.UNREADABLE)
    return Keyset(**values)
