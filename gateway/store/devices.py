"""What is remembered of devices: whose they are, where they can be woken up, and when they came and went."""

from collections.abc import Collection, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.rules.device import Device
from gateway.store.many import append
from gateway.store.rows import row_of
from gateway.store.tables import devices, pushes

_row = row_of(Device)
_NOWHERE = {"push_provider": None, "push_id": None}
_OF_USER = (
    sa.select(devices)
    .where(
        devices.c.application_id == sa.bindparam("application_id"),
        devices.c.user_id == sa.bindparam("user_id"),
    )
    .order_by(devices.c.id)
)


def insert_devices(connection: Connection, several: Sequence[Device]) -> None:
    """Add devices."""
    append(connection, devices, [_row(each) for each in several])


def devices_of(connection: Connection, application_id: str, user_id: str) -> dict[str, Device]:
    """Return every device the user ever had by id, oldest first."""
    rows = connection.execute(_OF_USER, {"application_id": application_id, "user_id": user_id})
    return {row.id: Device(**row._mapping) for row in rows}


def note_registered(connection: Connection, device_id: str, now: datetime | None) -> None:
    """Note that a phone has registered for the device; the first time counts."""
    connection.execute(
        sa.update(devices)
        .where(devices.c.id == device_id, devices.c.registered_at.is_(None))
        .values(registered_at=now)
    )


def change_push(connection: Connection, device_id: str, provider: str | None, identifier: str | None) -> None:
    """Replace where the device can be woken up, unless it was removed."""
    connection.execute(
        sa.update(devices)
        .where(devices.c.id == device_id, devices.c.removed_at.is_(None))
        .values(push_provider=provider, push_id=identifier)
    )


def remove_devices(connection: Connection, ids: Collection[str], now: datetime) -> set[str]:
    """Remove devices: forget where they could be woken up, and that they were to be; return those that were there."""
    if not ids:
        return set()
    chosen = devices.c.id.in_(list(ids))
    gone = (
        sa.update(devices)
        .where(chosen, devices.c.removed_at.is_(None))
        .values(removed_at=now, **_NOWHERE)
        .returning(devices.c.id)
    )
    removed = set(connection.execute(gone).scalars())
    connection.execute(sa.delete(pushes).where(pushes.c.device_id.in_(list(removed))))
    return removed
