"""Does what is too old to matter go, a little at a time, so that nobody waits long for the database meanwhile?"""

from datetime import timedelta

import sqlalchemy as sa

from gateway.store import guards
from gateway.store.database import Database
from gateway.store.tables import idempotency, replays
from tests.store.rows import NOW


def _left(database: Database) -> list[int]:
    counted = [sa.select(sa.func.count()).select_from(each) for each in (replays, idempotency)]
    with database.reading() as connection:
        return [connection.execute(each).scalar_one() for each in counted]


def _forget(database: Database) -> bool:
    with database.unit() as connection:
        return guards.forget_expired(connection, NOW, most=3)


def test_old_marks_go_a_few_at_a_time_and_the_others_stay(database: Database):
    with database.unit() as connection:
        for number in range(9):
            expires = NOW + timedelta(seconds=number - 7)  # seven are too old
            guards.use_authcodes(connection, [(f"ks_{number}", bytes(32))], expires)
            guards.remember_request(connection, "app_1", f"key_{number}", bytes(32), expires)
    assert _forget(database)
    assert _left(database) == [5, 5]
    assert not _forget(database)
    assert _left(database) == [2, 2]
    assert not _forget(database)
    assert _left(database) == [2, 2]


def test_marks_of_one_moment_go_together(database: Database):
    old = NOW - timedelta(seconds=1)
    with database.unit() as connection:
        guards.use_authcodes(connection, [(f"ks_{number}", bytes(32)) for number in range(9)], old)
    _forget(database)
    assert _left(database) == [0, 0]


def test_a_key_is_freed_while_its_request_runs_and_never_afterwards(database: Database):
    with database.unit() as connection:
        for key in ("key_1", "key_2"):
            guards.remember_request(connection, "app_1", key, bytes(32), NOW)
        guards.finish_request(connection, "app_1", "key_2", "txn_1", NOW)
        for key in ("key_1", "key_2"):
            guards.forget_request(connection, "app_1", key)
        assert guards.remember_request(connection, "app_1", "key_1", bytes(32), NOW) is None
        kept = guards.remember_request(connection, "app_1", "key_2", bytes(32), NOW)
    assert kept is not None
    assert kept.resource == "txn_1"
