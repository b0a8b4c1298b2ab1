"""Since when is which receipt key in use: versions, thumbprints and times; the keys themselves are on the token."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.store.many import insert_new
from gateway.store.tables import receipt_keys


@dataclass(frozen=True, slots=True)
class ReceiptKey:
    """One version of the receipt key."""

    version: int
    thumbprint: str
    created_at: datetime
    retired_at: datetime | None


def note_receipt_key(connection: Connection, version: int, thumbprint: str, now: datetime) -> None:
    """Note that the version is in use and which key it is, if that is not noted yet."""
    insert_new(
        connection,
        receipt_keys,
        version=version,
        thumbprint=thumbprint,
        created_at=now.replace(microsecond=0),
        retired_at=None,
    )


def retire_receipt_keys(connection: Connection, before: int, until: datetime) -> None:
    """Note until when versions before this one may have signed, where that is not noted yet."""
    connection.execute(
        sa.update(receipt_keys)
        .where(receipt_keys.c.version < before, receipt_keys.c.retired_at.is_(None))
        .values(retired_at=until.replace(microsecond=0))
    )


def receipt_thumbprint(connection: Connection, version: int) -> str | None:
    """Return which key the version is, or None when none is noted: the database was not prepared yet."""
    asked = sa.select(receipt_keys.c.thumbprint).where(receipt_keys.c.version == version)
    return connection.execute(asked).scalar_one_or_none()


def list_receipt_keys(connection: Connection) -> list[ReceiptKey]:
    """Return every version that was ever in use."""
    rows = connection.execute(sa.select(receipt_keys).order_by(receipt_keys.c.version))
    return [ReceiptKey(row.version, row.thumbprint, row.created_at, row.retired_at) for row in rows]
