"""Which value must a token show to prove that it has a key of the gateway, and which version of it?"""

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.store.many import insert_new
from gateway.store.tables import house_keys

Version = tuple[str, int]  # name and version


def note_house_keys(connection: Connection, values: Mapping[Version, bytes], now: datetime) -> None:
    """Note the values of these versions, where none is noted yet."""
    for (name, version), value in values.items():
        moment = now.replace(microsecond=0)
        insert_new(connection, house_keys, name=name, version=version, value=value, created_at=moment)


def forget_house_key(connection: Connection, name: str, version: int) -> None:
    """Forget a version that was destroyed."""
    connection.execute(
        sa.delete(house_keys).where(house_keys.c.name == name, house_keys.c.version == version)
    )


def noted_house_keys(connection: Connection) -> dict[Version, bytes]:
    """Return the value of every version."""
    rows = connection.execute(sa.select(house_keys))
    return {(row.name, row.version): row.value for row in rows}
