"""Which databases are the tests run on: an empty or a migrated one of each kind, gone afterwards."""

import contextlib
import functools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store import migrate
from gateway.store.database import Database
from tests.gateways import fresh_database

KINDS = ("sqlite", "postgresql")


@contextlib.contextmanager
def empty_database(kind: str, folder: Path) -> Iterator[str]:
    """Give the URL of an empty database; skips the test where there is no PostgreSQL to make one on."""
    if kind == "postgresql" and "TEST_POSTGRES_URL" not in os.environ:
        pytest.skip("no PostgreSQL: run scripts/test")
    with fresh_database(kind) as url:
        yield url or f"sqlite:///{folder / 'countersign.db'}"


@contextlib.contextmanager
def migrated_database(kind: str, folder: Path) -> Iterator[Database]:
    """Give an open database at the newest schema."""
    with empty_database(kind, folder) as url:
        if kind == "sqlite":
            (folder / "countersign.db").write_bytes(_migrated_file())
        with opened(url) as database:
            migrate.upgrade(database)
            yield database


@functools.cache
def _migrated_file() -> bytes:
    """Return a migrated SQLite database, made once: most tests need one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "countersign.db"
        with opened(f"sqlite:///{path}") as database:
            migrate.upgrade(database)
            database.tidy()
        return path.read_bytes()


@contextlib.contextmanager
def opened(url: str, pool: int = 20) -> Iterator[Database]:
    """Give one more way into a database, with a pool of its own."""
    database = Database(url, pool)
    try:
        yield database
    finally:
        database.close()


def url_of(database: Database) -> str:
    """Return the address a database was opened with, for other pools and processes."""
    return database.engine.url.render_as_string(hide_password=False)
