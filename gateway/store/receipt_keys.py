"""Since when is a receipt key in use: versions and times; the keys themselves are on the token."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.store.database import insert_new
from gateway.store.tables import receipt_keys


@dataclass(frozen=True, slots=True)
class ReceiptKey:
    """One version of the receipt key."""

    version: int
    created_at: datetime
    retired_at: datetime | None


def note_receipt_key(connection: Connection, version: int, now: datetime) -> None:
    """Note that the version is in use, if that is not noted yet."""
    insert_new(
        connection, receipt_keys, version=version, created_at=now.replace(microsecond=0), retired_at=None
    )


def list_receipt_keys(connection: Connection) -> list[ReceiptKey]:
    """Return every version that was ever in use."""
    rows = connection.execute(sa.select(receipt_keys).order_by(receipt_keys.c.version))
    return [ReceiptKey(row.version, row.created_at, row.retired_at) for row in rows]
