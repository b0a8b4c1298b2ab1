"""Is the database at the schema of this code, and how does it get there: Alembic, run from here alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from gateway.store.database import Connection, Database


class SchemaBehind(Exception):
    """The database is not at the schema of this code; the text says how to mend it."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def head() -> str:
    """Return the newest revision this code knows."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def current(database: Database) -> str | None:
    """Return the revision of the database; None for an empty one."""
    with database.reading() as connection:
        return MigrationContext.configure(connection).get_current_revision()


@contextmanager
def alone(database: Database) -> Iterator[Connection]:
    """Open a unit that no other process that prepares this database runs beside; it may take its time."""
    with database.unit() as connection:  # on SQLite this is the one that may write
        if connection.dialect.name == "postgresql":
            for limit in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
                connection.execute(sa.text(f"SET LOCAL {limit} = 0"))
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(7023641)"))
        yield connection


def upgrade(database: Database) -> None:
    """Bring the database to the newest schema; does nothing when it is there already."""
    config = _config()
    with alone(database) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def require_current(database: Database) -> None:
    """Raise SchemaBehind unless the database is at the schema of this code."""
    found, wanted = current(database), head()
    if found != wanted:
        raise SchemaBehind(
            f"The database is at schema {found or 'none'}, this program needs {wanted}. "
            "Run `countersign migrate` with the program of this version."
        )
