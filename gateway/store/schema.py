"""Is the database at the schema of this code?

Every process asks this when it starts, so it is answered without Alembic, which takes longer to load than to ask.
"""

import sqlalchemy as sa

from gateway.store.database import Database

HEAD = "0001"  # the newest revision in migrations/versions
_REVISION = sa.text("SELECT version_num FROM alembic_version")


class SchemaBehind(Exception):
    """The database is not at the schema of this code; the text says how to mend it."""


def current(database: Database) -> str | None:
    """Return the revision of the database; None for an empty one."""
    with database.reading() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found = connection.execute(_REVISION).scalar_one_or_none()
    return None if found is None else str(found)


def require_current(database: Database) -> None:
    """Raise SchemaBehind unless the database is at the schema of this code."""
    found = current(database)
    if found != HEAD:
        raise SchemaBehind(_how_to_mend(found))


def require_not_newer(database: Database) -> None:
    """Raise SchemaBehind if a newer program has changed the database."""
    found = current(database)
    if found is not None and found > HEAD:
        raise SchemaBehind(_how_to_mend(found))


def _how_to_mend(found: str | None) -> str:
    if found is None:
        return (
            "There is nothing in the database. Is it the right one (COUNTERSIGN_DATABASE_URL, COUNTERSIGN_DATA_DIR)? "
            "A new one is prepared by `countersign init`."
        )
    told = f"The database is at schema {found}, this program needs {HEAD}. "
    if found > HEAD:
        return told + "A newer program has changed it: use that one, or restore the backup from before."
    return told + "Run `countersign migrate` with the program of this version."
