"""Which objects on the token belong to no keyset: planned ones not adopted yet, doomed ones to be destroyed.

A row is written before its object is made. So whatever a killed process leaves on the token, a row knows of it.
"""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.store.many import among, append, insert_new
from gateway.store.tables import keysets, loose_keys

# Worded so that no index serves it: SQLite would otherwise walk through all that is planned to find a few.
_NOT_DOOMED = sa.func.coalesce(loose_keys.c.doomed_at, sa.null()).is_(None)
_ADOPT = sa.delete(loose_keys).where(among(loose_keys.c.uri, "uris"), _NOT_DOOMED)


def plan_keys(connection: Connection, uris: Sequence[str], keyset_id: str, now: datetime) -> None:
    """Note objects that are about to be made."""
    plan_all(connection, [(uri, keyset_id) for uri in uris], now)


def plan_all(connection: Connection, planned: Sequence[tuple[str, str]], now: datetime) -> None:
    """Note objects that are about to be made for several keysets, each with its keyset's id."""
    rows = [
        {"uri": uri, "keyset_id": keyset, "planned_at": now, "doomed_at": None} for uri, keyset in planned
    ]
    append(connection, loose_keys, rows)


def adopt_keys(connection: Connection, uris: Sequence[str]) -> bool:
    """Take planned objects out of the list because a keyset owns them now; False if any was doomed meanwhile."""
    return not uris or connection.execute(_ADOPT, {"uris": list(uris)}).rowcount == len(uris)


def doom_keys(connection: Connection, uris: Sequence[str], keyset_id: str, now: datetime) -> None:
    """Have objects destroyed by the next sweep."""
    for uri in uris:
        fresh = insert_new(
            connection, loose_keys, uri=uri, keyset_id=keyset_id, planned_at=now, doomed_at=now
        )
        if not fresh:
            connection.execute(sa.update(loose_keys).where(loose_keys.c.uri == uri).values(doomed_at=now))


def doom_forgotten(connection: Connection, planned_before: datetime, now: datetime) -> None:
    """Doom what was planned long ago and never adopted: its maker was killed."""
    connection.execute(
        sa.update(loose_keys)
        .where(loose_keys.c.doomed_at.is_(None), loose_keys.c.planned_at < planned_before)
        .values(doomed_at=now)
    )


def doomed_keys(connection: Connection, most: int) -> list[tuple[str, str]]:
    """Return (URI, keyset id) of objects to destroy."""
    rows = connection.execute(
        sa.select(loose_keys.c.uri, loose_keys.c.keyset_id)
        .where(loose_keys.c.doomed_at.is_not(None))
        .order_by(loose_keys.c.doomed_at)
        .limit(most)
    )
    return [(row.uri, row.keyset_id) for row in rows]


def forget_key(connection: Connection, uri: str) -> bool:
    """Drop the note: the object is destroyed. False if another worker was faster."""
    return connection.execute(sa.delete(loose_keys).where(loose_keys.c.uri == uri)).rowcount == 1


def known_uris(connection: Connection) -> set[str]:
    """Return the URIs of all loose objects."""
    return set(connection.execute(sa.select(loose_keys.c.uri)).scalars())


def doom_unowned(connection: Connection, uris: Sequence[str], keyset_id: str, now: datetime) -> None:
    """Doom what was planned for a keyset and is not its own; also what the sweep forgot before it was made.

    Dooming comes first, for it waits for a unit that is still adopting the keys.
    """
    doom_keys(connection, uris, keyset_id, now)
    owner = sa.select(keysets.c.khmac, keysets.c.kauth, keysets.c.kpublic).where(keysets.c.id == keyset_id)
    for owned in connection.execute(owner).all():
        connection.execute(sa.delete(loose_keys).where(loose_keys.c.uri.in_({*uris} & {*owned})))
