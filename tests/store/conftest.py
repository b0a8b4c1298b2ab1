"""Fixtures of the store's tests: each runs on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store.database import Database
from tests.store.databases import KINDS, empty_database, migrated_database


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without a single table."""
    with empty_database(request.param, tmp_path) as url:
        yield url


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database of this test alone, at the newest schema."""
    with migrated_database(request.param, tmp_path) as migrated:
        yield migrated


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    """An SQLite database, for what only a file can suffer."""
    with migrated_database("sqlite", tmp_path) as migrated:
        yield migrated


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[Database]:
    """A PostgreSQL database, for what only a server can suffer."""
    with migrated_database("postgresql", tmp_path) as migrated:
        yield migrated
