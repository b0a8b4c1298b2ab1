"""What is remembered of content that was handed in by itself, until a transaction uses it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.store.rows import row_of
from gateway.store.tables import applications, contents, uploads

_COMPLETE = uploads.c.content_sha256.is_not(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Content that no transaction has used; while it comes in it has no hash, and ``size`` is the most it may be."""

    id: str
    application_id: str
    media_type: str
    size: int
    content_sha256: bytes | None = None
    mac: bytes | None = None
    created_at: datetime
    expires_at: datetime


_row_of_upload = row_of(Upload)


def lock_waiting(connection: Connection, application_id: str) -> tuple[int, int]:
    """Return how many uploads the application has, and their bytes; nobody else begins one until the unit ends."""
    # FOR NO KEY UPDATE: whoever adds a row that names the application goes on.
    locked = sa.select(applications.c.id).where(applications.c.id == application_id)
    connection.execute(locked.with_for_update(key_share=True))
    counted = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(uploads.c.size), 0))
    number, size = connection.execute(counted.where(uploads.c.application_id == application_id)).one()
    return int(number), int(size)


def insert_upload(connection: Connection, upload: Upload) -> None:
    """Add an upload that begins."""
    connection.execute(sa.insert(uploads), _row_of_upload(upload))


def insert_part(connection: Connection, upload_id: str, part: int, data: bytes) -> bool:
    """Add a part if the upload is still there: nothing is left of one that was swept meanwhile."""
    locked = sa.select(uploads.c.id).where(uploads.c.id == upload_id, sa.not_(_COMPLETE)).with_for_update()
    if connection.execute(locked).one_or_none() is None:
        return False
    connection.execute(sa.insert(contents).values(transaction_id=upload_id, part=part, data=data))
    return True


def complete_upload(connection: Connection, upload: Upload) -> bool:
    """Write what is known at the end, if the upload is still there and was not complete before."""
    changed = sa.update(uploads).where(uploads.c.id == upload.id, sa.not_(_COMPLETE))
    return connection.execute(changed.values(**_row_of_upload(upload))).rowcount == 1


def find_upload(connection: Connection, application_id: str, upload_id: str, now: datetime) -> Upload | None:
    """Return the application's complete upload whose time is not over, or None."""
    row = connection.execute(
        sa.select(uploads).where(
            uploads.c.id == upload_id,
            uploads.c.application_id == application_id,
            uploads.c.expires_at > now,
            _COMPLETE,
        )
    ).one_or_none()
    return None if row is None else Upload(**row._mapping)


def use_upload(connection: Connection, upload: Upload, transaction_id: str) -> bool:
    """Make the content that of the transaction; False if another one has it, or it was swept. One caller wins."""
    used = sa.delete(uploads).where(
        uploads.c.id == upload.id, uploads.c.content_sha256 == upload.content_sha256
    )
    if connection.execute(used).rowcount != 1:
        return False
    parts = sa.update(contents).where(contents.c.transaction_id == upload.id)
    connection.execute(parts.values(transaction_id=transaction_id))
    return True


def drop_upload(connection: Connection, upload_id: str) -> None:
    """Drop the upload and its parts, unless a transaction has them by now."""
    # The row first: whoever adds a part holds it, and adds none when it is gone.
    if connection.execute(sa.delete(uploads).where(uploads.c.id == upload_id)).rowcount == 1:
        connection.execute(sa.delete(contents).where(contents.c.transaction_id == upload_id))


def expired_uploads(connection: Connection, now: datetime, most: int) -> Sequence[str]:
    """Return the ids of uploads whose time is over, the oldest first."""
    over = sa.select(uploads.c.id).where(uploads.c.expires_at <= now).order_by(uploads.c.expires_at)
    return connection.execute(over.limit(most)).scalars().all()
