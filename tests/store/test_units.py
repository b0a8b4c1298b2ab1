"""Is a unit all or nothing, and is a key that is wanted by many given to one?"""

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from gateway.rules.transaction import TransactionStatus
from gateway.rules.user import UserStatus
from gateway.store import deliveries, guards, transactions, users
from gateway.store.database import Database
from gateway.store.many import insert_new
from gateway.store.tables import receipt_keys
from gateway.store.transactions import settle_transaction
from tests.store.databases import opened, url_of
from tests.store.racing import in_threads
from tests.store.rows import APPLICATION, NOW, USER, anna, insert_anna, insert_transaction


def _count(database: Database) -> int:
    with database.reading() as connection:
        return int(connection.execute(sa.text("SELECT count(*) FROM users")).scalar_one())


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_a_unit_that_fails_leaves_nothing(database: Database, error: type[BaseException]):
    def fail() -> None:
        with database.unit() as connection:
            insert_anna(connection)
            raise error

    with pytest.raises(error):
        fail()
    assert _count(database) == 0


def test_a_unit_that_ends_is_seen_by_others_and_not_before(database: Database):
    with database.unit() as connection:
        insert_anna(connection)
        assert _count(database) == 0
    assert _count(database) == 1


def test_a_statement_that_fails_takes_the_whole_unit_with_it(database: Database):
    def insert_twice() -> None:
        with database.unit() as connection:
            insert_anna(connection)
            insert_transaction(connection, "txn_1")
            insert_transaction(connection, "txn_1")

    with pytest.raises(sa.exc.IntegrityError):
        insert_twice()
    assert _count(database) == 0


def test_a_row_of_nobody_is_refused(database: Database):
    with pytest.raises(sa.exc.IntegrityError), database.unit() as connection:
        insert_transaction(connection, "txn_1")


def test_a_reading_unit_sees_one_moment(database: Database):
    with database.unit() as connection:
        insert_anna(connection)
    with database.reading() as reading:
        before = users.find_user(reading, APPLICATION, USER)
        assert before is not None
        # A reader keeps nobody from writing.
        with database.unit() as connection:
            users.count_failure(connection, APPLICATION, USER)
    with database.reading() as reading:
        after = users.find_user(reading, APPLICATION, USER)
    assert after is not None
    assert (before.failures, after.failures) == (0, 1)


def test_a_look_sees_what_is_durable_and_leaves_its_connection_fit_for_units(database: Database):
    def fail() -> None:
        with narrow.unit() as connection:
            insert_anna(connection)
            with database.looking() as other:
                assert users.find_user(other, APPLICATION, USER) is None
            raise RuntimeError

    with opened(url_of(database), pool=1) as narrow:
        for _ in range(2):
            with narrow.looking() as connection:
                assert users.find_user(connection, APPLICATION, USER) is None
            with pytest.raises(RuntimeError):
                fail()
        with narrow.unit() as connection:
            insert_anna(connection)
        with narrow.looking() as connection:
            assert users.find_user(connection, APPLICATION, USER) == anna()


def test_of_16_threads_that_insert_the_same_key_one_wins(database: Database):
    def insert(each: int) -> bool:
        with database.unit() as connection:
            return insert_new(
                connection, receipt_keys, version=1, thumbprint="x", created_at=NOW, retired_at=None
            )

    assert sorted(in_threads(16, insert)) == [False] * 15 + [True]


def test_a_taken_key_does_not_spoil_the_unit(database: Database):
    with database.unit() as connection:
        insert_anna(connection)
        assert not users.insert_user(connection, anna())
        assert users.insert_user(connection, anna("berta"))
    assert _count(database) == 2


def test_of_16_threads_that_show_the_same_authcode_one_is_let_in(database: Database):
    def use(each: int) -> bool:
        with database.unit() as connection:
            return bool(guards.use_authcodes(connection, [("ks_1", bytes(32))], NOW))

    assert sum(in_threads(16, use)) == 1


def test_of_16_threads_that_settle_one_transaction_one_wins(database: Database):
    with database.unit() as connection:
        insert_anna(connection)
        insert_transaction(connection, "txn_1", bytes(1000))
    ends = [TransactionStatus.CONFIRMED, TransactionStatus.DECLINED, TransactionStatus.CANCELLED]

    def settle(each: int) -> bool:
        with database.unit() as connection:
            return settle_transaction(
                connection, "txn_1", status=ends[each % 3], reason=str(each), now=NOW, before_expiry=True
            )

    won = in_threads(16, settle)
    assert sum(won) == 1
    with database.reading() as connection:
        found = transactions.find_transaction(connection, APPLICATION, "txn_1")
        assert found is not None
        assert (found.status, found.reason) == (ends[won.index(True) % 3], str(won.index(True)))
        assert transactions.read_content(connection, "txn_1", 0, 1000) == b""


def test_failures_counted_by_16_threads_are_counted_exactly(database: Database):
    with database.unit() as connection:
        insert_anna(connection)

    def count(each: int) -> int:
        with database.unit() as connection:
            return users.count_failure(connection, APPLICATION, USER)

    assert sorted(in_threads(16, count)) == list(range(1, 17))


def test_of_changes_made_to_the_same_sight_of_a_user_one_wins(database: Database):
    with database.unit() as connection:
        insert_anna(connection)

    def block(each: int) -> bool:
        with database.unit() as connection:
            return users.change_user(connection, anna(), status=UserStatus.BLOCKED, reason=str(each))

    assert sum(in_threads(8, block)) == 1


def test_a_locked_user_waits_for_the_unit_that_holds_it(database: Database):
    with database.unit() as connection:
        insert_anna(connection)
    order = []

    def follow() -> None:
        with database.unit() as connection:
            users.lock_user(connection, APPLICATION, USER)
            order.append("second")

    second = threading.Thread(target=follow)
    with database.unit() as connection:
        users.lock_user(connection, APPLICATION, USER)
        second.start()
        second.join(0.3)
        order.append("first")
    second.join(10)
    assert order == ["first", "second"]


def test_a_locked_user_keeps_nobody_from_settling_its_transactions(postgresql: Database):
    with postgresql.unit() as connection:
        insert_anna(connection)
        insert_transaction(connection, "txn_1")
    with postgresql.unit() as connection:
        users.lock_user(connection, APPLICATION, USER)
        with postgresql.unit() as other:
            other.execute(sa.text("SET LOCAL lock_timeout = '1s'"))
            # The second change of a row in one unit looks at its foreign keys again.
            assert settle_transaction(
                other, "txn_1", status=TransactionStatus.CANCELLED, reason=None, now=NOW, before_expiry=False
            )
            assert deliveries.next_sequence(other, "txn_1") == 1


def test_a_moment_comes_back_aware_in_utc_whatever_zone_it_was_written_in(database: Database):
    elsewhere = timezone(timedelta(hours=5, minutes=30))
    with database.unit() as connection:
        insert_new(
            connection,
            receipt_keys,
            version=1,
            thumbprint="x",
            created_at=NOW.astimezone(elsewhere),
            retired_at=None,
        )
        found = connection.execute(sa.select(receipt_keys.c.created_at)).scalar_one()
    assert found == NOW
    assert found.tzinfo is UTC


def test_a_naive_moment_never_reaches_the_database(database: Database):
    naive = datetime(2030, 1, 1)  # noqa: DTZ001 - that is the point
    with pytest.raises((TypeError, ValueError)) as caught, database.unit() as connection:
        insert_new(connection, receipt_keys, version=1, thumbprint="x", created_at=naive, retired_at=None)
    assert "naive" in f"{caught.value} {caught.value.__cause__}"


def test_writers_that_wait_for_each_other_leave_the_connections_to_readers(database: Database):
    """On SQLite, which has one writer, whoever waits to write holds none of the pool's few connections."""
    with opened(url_of(database), pool=2) as narrow:
        if not narrow.is_sqlite:
            pytest.skip("PostgreSQL has as many writers as connections")

        def write(number: int) -> None:
            with narrow.unit() as connection:
                users.insert_user(connection, anna(f"user_{number}"))

        writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        with narrow.unit() as connection:
            insert_anna(connection)
            for each in writers:
                each.start()
            for each in writers:
                each.join(0.05)
            assert _count(narrow) == 0
        for each in writers:
            each.join(30)
        assert _count(narrow) == 1 + len(writers)
