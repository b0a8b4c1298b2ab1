"""What is remembered of pushes: which devices are to be woken, who is at it, and where they can be reached.

A device has at most one row: that something waits for it is all a push says, so several become one.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from gateway.rules.keyset import KeysetStatus
from gateway.rules.push import PushProvider
from gateway.store.many import among
from gateway.store.tables import devices, keysets, pushes, transactions
from gateway.store.transactions import WAITS
from gateway.store.users import of_applications

# Asked device by device: in a join PostgreSQL would rather read every device there is than look up those that are due.
_OWN = devices.alias("own")
_own_provider = sa.select(_OWN.c.push_provider).where(_OWN.c.id == pushes.c.device_id).scalar_subquery()


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """One device to be woken; ``version`` rises with each transaction it is woken for."""

    device_id: str
    application_id: str
    user_id: str
    provider: str
    push_id: str
    version: int
    tries: int


def want_pushes(
    connection: Connection, ids: Collection[tuple[str, str]], now: datetime, expires_at: datetime
) -> None:
    """Have devices woken that have keys in force and a push address, in the unit of what they are woken for.

    Args:
        connection: an open unit.
        ids: the (application, user) for whom something waits.
        now: the moment of the unit.
        expires_at: when the last of it expires; whether anything still waits for a user is seen when it is sent.
    """
    for named in of_applications(ids):
        connection.execute(_wanting(connection.dialect.name), named | {"now": now, "until": expires_at})


@cache
def _wanting(dialect: str) -> sa.Executable:
    now, until = (
        sa.bindparam("now", type_=pushes.c.next_at.type),
        sa.bindparam("until", type_=pushes.c.next_at.type),
    )
    in_force = sa.exists().where(
        keysets.c.application_id == devices.c.application_id,
        keysets.c.user_id == devices.c.user_id,
        keysets.c.device_id == devices.c.id,
        keysets.c.status == KeysetStatus.ACTIVE,
        keysets.c.valid_until > now,
    )
    one, none = sa.literal_column("1", sa.Integer), sa.literal_column("0", sa.Integer)
    reachable = sa.select(devices.c.id, one, none, now, until).where(
        devices.c.application_id == sa.bindparam("of_application"),
        among(devices.c.user_id, "of_users"),
        devices.c.removed_at.is_(None),
        devices.c.push_provider.in_([str(provider) for provider in PushProvider]),
        in_force,
    )
    build = sqlite.insert if dialect == "sqlite" else postgresql.insert
    made = build(pushes).from_select(["device_id", "version", "tries", "next_at", "expires_at"], reachable)
    later = sa.case(
        (made.excluded.expires_at > pushes.c.expires_at, made.excluded.expires_at), else_=pushes.c.expires_at
    )
    # The next try stays where it is: a service that asked for a pause gets it.
    renewed = {"version": pushes.c.version + 1, "tries": 0, "expires_at": later}
    return made.on_conflict_do_update(index_elements=[pushes.c.device_id], set_=renewed)


def due_providers(connection: Connection, now: datetime) -> set[str]:
    """Return the providers of the devices that could be claimed."""
    return set(connection.execute(sa.select(_own_provider).where(*_due(now)).distinct()).scalars())


def claim_pushes(
    connection: Connection, now: datetime, until: datetime, room: Mapping[PushProvider, int]
) -> list[Push]:
    """Take due pushes that nobody works on. A worker that is killed loses its claim when ``until`` has passed.

    Args:
        connection: an open unit.
        now: what is due by now.
        until: end of the claim.
        room: how many to take at most, of each provider.
    """
    claimed = []
    asked = sa.select(
        pushes, devices.c.application_id, devices.c.user_id, devices.c.push_provider, devices.c.push_id
    ).join_from(pushes, devices, pushes.c.device_id == devices.c.id)
    for provider, most in room.items():
        due = (
            asked.where(*_due(now), _own_provider == provider)
            .order_by(pushes.c.next_at)
            .limit(most)
            .with_for_update(skip_locked=True, of=pushes)
        )
        claimed += [_push(row) for row in connection.execute(due)]
    if claimed:
        ids = [push.device_id for push in claimed]
        connection.execute(sa.update(pushes).where(pushes.c.device_id.in_(ids)).values(claimed_until=until))
    return claimed


def _due(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return pushes.c.next_at <= now, sa.or_(pushes.c.claimed_until.is_(None), pushes.c.claimed_until <= now)


def waits_until(connection: Connection, push: Push, now: datetime) -> datetime | None:
    """Return when the last transaction that waits for the user ends; None if none waits."""
    found: datetime | None = connection.execute(
        sa.select(transactions.c.expires_at)
        .where(
            transactions.c.application_id == push.application_id,
            transactions.c.user_id == push.user_id,
            WAITS,
            transactions.c.expires_at > now,
        )
        .order_by(transactions.c.expires_at.desc())
        .limit(1)
    ).scalar_one_or_none()
    return found


def end_push(connection: Connection, push: Push) -> None:
    """Forget a push that is done or given up, unless something more came meanwhile: then it is due again."""
    mine = pushes.c.device_id == push.device_id
    connection.execute(sa.delete(pushes).where(mine, pushes.c.version == push.version))
    connection.execute(
        sa.update(pushes).where(mine, pushes.c.version != push.version).values(claimed_until=None)
    )


def postpone_push(connection: Connection, push: Push, next_at: datetime) -> None:
    """Note a failed try and when the next is due; what came meanwhile waits as well, with tries of its own."""
    tries = sa.case((pushes.c.version == push.version, push.tries + 1), else_=0)
    connection.execute(
        sa.update(pushes)
        .where(pushes.c.device_id == push.device_id)
        .values(tries=tries, next_at=next_at, claimed_until=None)
    )


def drop_push_address(connection: Connection, push: Push) -> bool:
    """Forget the address of the device if it still is this one, and say whether it was."""
    gone = (
        sa.update(devices)
        .where(
            devices.c.id == push.device_id,
            devices.c.push_provider == push.provider,
            devices.c.push_id == push.push_id,
        )
        .values(push_provider=None, push_id=None)
    )
    return connection.execute(gone).rowcount == 1


def forget_expired(connection: Connection, now: datetime) -> None:
    """Drop pushes whose last transaction has ended: those that no worker serves, or of an address taken back."""
    connection.execute(sa.delete(pushes).where(pushes.c.expires_at <= now))


def _push(row: sa.Row[Any]) -> Push:
    return Push(
        device_id=row.device_id,
        application_id=row.application_id,
        user_id=row.user_id,
        provider=row.push_provider,
        push_id=row.push_id,
        version=row.version,
        tries=row.tries,
    )
