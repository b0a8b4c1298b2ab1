"""Which databases are the tests run on: an empty or a migrated one of each kind, gone afterwards."""

import contextlib
import functools
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.store import migrate
from gateway.store.database import Database
from tests.gateways import fresh_database

KINDS = ("sqlite", "postgresql")


@contextlib.contextmanager
def empty_database(kind: str, folder: Path) -> Iterator[str]:
    """Give the URL of an empty database; skips the test where there is no PostgreSQL to make one on."""
    _require(kind)
    with fresh_database(kind) as url:
        yield url or f"sqlite:///{folder / 'countersign.db'}"


def _require(kind: str) -> None:
    if kind == "postgresql" and "TEST_POSTGRES_URL" not in os.environ:
        pytest.skip("no PostgreSQL: run scripts/test")


@contextlib.contextmanager
def migrated_database(kind: str, folder: Path) -> Iterator[Database]:
    """Give an open database at the newest schema, a copy of one that was migrated: most tests need one."""
    _require(kind)
    if kind == "sqlite":
        file = folder / "countersign.db"
        file.write_bytes(_migrated_file())
        with opened(f"sqlite:///{file}") as database:
            yield database
        return
    with fresh_database(kind, _migrated_template()) as url, opened(url) as database:
        yield database


@functools.cache
def _migrated_file() -> bytes:
    """Return a migrated SQLite database, made once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "countersign.db"
        with opened(f"sqlite:///{path}") as database:
            migrate.upgrade(database)
            database.tidy()
        return path.read_bytes()


@functools.cache
def _migrated_template() -> str:
    """Return the name of a migrated PostgreSQL database, made once by each process; it goes with the server."""
    server = sa.make_url(os.environ["TEST_POSTGRES_URL"])
    name = f"template_{secrets.token_hex(8)}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    with opened(server.set(database=name).render_as_string(hide_password=False)) as database:
        migrate.upgrade(database)
    return name


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
