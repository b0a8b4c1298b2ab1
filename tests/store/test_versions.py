"""Are the versions of several users raised together for all of them, or is it said that they were not?"""

import threading
import time
from dataclasses import replace

import pytest
import sqlalchemy as sa

from gateway.rules.user import User
from gateway.store import users
from gateway.store.database import Connection, Database
from tests.store.rows import APPLICATION, anna, insert_anna

NAMES = ("anna", "berta", "clara")


@pytest.fixture
def seen(database: Database) -> list[User]:
    """Users as they are."""
    return _filled(database)


def _filled(database: Database) -> list[User]:
    with database.unit() as connection:
        insert_anna(connection)
        for name in NAMES[1:]:
            users.insert_user(connection, anna(name))
    return [anna(name) for name in NAMES]


def _versions(connection: Connection) -> list[int]:
    return list(connection.execute(sa.text("SELECT version FROM users")).scalars())


def test_all_are_raised_who_are_as_they_were_seen(database: Database, seen: list[User]):
    with database.unit() as connection:
        assert users.raise_versions(connection, seen)
        assert _versions(connection) == [2, 2, 2]
        assert users.raise_versions(connection, [replace(each, version=2) for each in seen[:1]])
        assert sorted(_versions(connection)) == [2, 2, 3]


@pytest.mark.parametrize("number", range(len(NAMES)))
def test_it_is_said_when_one_of_them_is_not(database: Database, seen: list[User], number: int):
    with database.unit() as connection:
        users.raise_version(connection, seen[number])
        assert not users.raise_versions(connection, seen)


def test_nobody_is_raised_twice_for_one_sight_of_it(database: Database, seen: list[User]):
    with database.unit() as connection:
        assert not users.raise_versions(connection, [seen[0], seen[1], seen[0]])


def test_they_are_locked_one_after_the_other_as_they_are_given(postgresql: Database):
    seen = _filled(postgresql)
    ids = [(user.application_id, user.user_id) for user in seen]
    raised: list[bool] = []

    def follow() -> None:
        with postgresql.unit() as connection:
            raised.append(users.raise_versions(connection, seen))

    second = threading.Thread(target=follow)
    with postgresql.unit() as connection:
        users.count_failure(connection, APPLICATION, "berta")  # which is no other sight of its keysets
        second.start()
        _until_one_waits(postgresql)
        with postgresql.unit() as third:
            assert [*users.lock_free_users(third, ids)] == [(APPLICATION, "clara")]
    second.join(10)
    assert raised == [True]


def _until_one_waits(database: Database) -> None:
    """Wait until somebody waits for a lock in this database."""
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    end = time.monotonic() + 30
    while True:
        with database.reading() as connection:
            if connection.execute(sa.text(waits)).scalar_one():
                return
        assert time.monotonic() < end
        time.sleep(0.01)
