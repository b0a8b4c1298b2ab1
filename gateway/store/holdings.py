"""What does the database say that is on the token, and how fast does it become more? For the doctor."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.rules.keyset import KeysetStatus
from gateway.store.tables import keysets

_ON_TOKEN = "pkcs11:%"  # noqa: S105  # how the name of a stored key begins; a derived one begins otherwise


class Named(NamedTuple):
    """A keyset and the keys that its row names."""

    id: str
    status: str
    khmac: str
    kauth: str
    kpublic: str | None


class Counted(NamedTuple):
    """What happened to keysets whose keys are on the token, since a moment."""

    first_at: datetime | None  # when the first of all was made
    made: int
    renewed: int  # of those made: how many of users who had one before
    registered: int  # and brought a public key
    replaced: int  # and gave up a key
    void: int  # and gave up two


def named_keys(connection: Connection) -> Iterator[Named]:
    """Return every keyset that names a stored key."""
    stored = sa.or_(
        keysets.c.khmac.like(_ON_TOKEN), keysets.c.kauth.like(_ON_TOKEN), keysets.c.kpublic.like(_ON_TOKEN)
    )
    columns = (keysets.c.id, keysets.c.status, keysets.c.khmac, keysets.c.kauth, keysets.c.kpublic)
    for row in connection.execute(sa.select(*columns).where(stored)):
        yield Named(*row)


def count_since(connection: Connection, since: datetime) -> Counted:
    """Count what happened since a moment."""
    stored = keysets.c.khmac.like(_ON_TOKEN)
    earlier = keysets.alias()
    had_one = (
        sa.exists()
        .where(
            earlier.c.application_id == keysets.c.application_id,
            earlier.c.user_id == keysets.c.user_id,
            earlier.c.created_at < keysets.c.created_at,
        )
        .correlate(keysets)
    )
    made = keysets.c.created_at >= since
    ended = keysets.c.ended_at >= since

    def count(*conditions: sa.ColumnElement[bool]) -> int:
        statement = sa.select(sa.func.count()).select_from(keysets).where(stored, *conditions)
        return connection.execute(statement).scalar_one()

    return Counted(
        first_at=connection.execute(sa.select(sa.func.min(keysets.c.created_at)).where(stored)).scalar_one(),
        made=count(made),
        renewed=count(made, had_one),
        registered=count(keysets.c.registered_at >= since, keysets.c.kpublic.like(_ON_TOKEN)),
        replaced=count(ended, keysets.c.status == KeysetStatus.DELETED),
        void=count(ended, keysets.c.status.in_((KeysetStatus.VOID, KeysetStatus.LAPSED))),
    )
