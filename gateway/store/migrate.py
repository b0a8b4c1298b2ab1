"""How does a database get to the schema of this code: Alembic, run from here alone."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from gateway.store import schema
from gateway.store.database import Database


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def upgrade(database: Database) -> None:
    """Bring the database to the newest schema; does nothing when it is there already.

    Raises:
        SchemaBehind: the database has been changed by a newer program.
    """
    schema.require_not_newer(database)
    config = _config()
    with database.alone() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
