"""What does the store say when the database is away, and is everything whole when it is back?"""

import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.refusals import Outage
from gateway.store.database import Database
from gateway.store.tables import contents
from gateway.store.tables import transactions as table
from tests.store.databases import opened, url_of
from tests.store.racing import in_threads
from tests.store.rows import insert_anna, insert_transaction

SECRET = b"IBAN DE89 3704 0044 0532 0130 00 "


def _fails(work: Callable[[], None]) -> str:
    """Expect an outage that tells nothing of the values that were about to be written; return what it tells."""
    with pytest.raises(Outage) as outage:
        work()
    told = "".join(traceback.format_exception(outage.value)) + repr(outage.value)
    assert "IBAN" not in told
    assert "txn_" not in str(outage.value)
    assert outage.value.retry_after_seconds > 0
    assert "\n" not in str(outage.value)
    return str(outage.value)


def _names(database: Database) -> list[str]:
    with database.reading() as connection:
        return sorted(connection.execute(sa.select(table.c.id)).scalars())


def _parts(database: Database) -> int:
    with database.reading() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(contents)).scalar_one())


def _pragma(database: Database, text: str) -> None:
    """Let every further connection of the pool begin with a PRAGMA."""

    def prepare(connection: Any, _: object) -> None:
        connection.execute(text).fetchall()

    sa.event.listen(database.engine, "connect", prepare)


def test_a_write_lock_held_for_too_long_is_an_outage_and_readers_go_on(sqlite: Database):
    with sqlite.unit() as connection:
        insert_anna(connection)
    with opened(url_of(sqlite)) as impatient:
        _pragma(impatient, "PRAGMA busy_timeout=100")

        def write() -> None:
            with impatient.unit() as connection:
                insert_transaction(connection, "txn_mine", SECRET)

        with sqlite.unit() as connection:
            insert_transaction(connection, "txn_theirs")
            assert "database is locked" in _fails(write)
            assert _names(impatient) == []
        write()
        assert _names(impatient) == ["txn_mine", "txn_theirs"]


def test_a_full_disk_is_an_outage_and_half_a_document_is_never_kept(sqlite: Database):
    with sqlite.unit() as connection:
        insert_anna(connection)
        pages = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
    with opened(url_of(sqlite)) as narrow:
        _pragma(narrow, f"PRAGMA max_page_count={pages + 40}")

        def write() -> None:
            with narrow.unit() as connection:
                insert_transaction(connection, "txn_small", SECRET)
                insert_transaction(connection, "txn_large", SECRET * 100_000)

        assert "full" in _fails(write)
        assert (_names(narrow), _parts(narrow)) == ([], 0)
        with narrow.unit() as connection:
            insert_transaction(connection, "txn_small", SECRET)
    with sqlite.unit() as connection:
        insert_transaction(connection, "txn_large", SECRET * 100_000)
    assert _names(sqlite) == ["txn_large", "txn_small"]


def test_a_folder_that_is_gone_is_an_outage(tmp_path: Path):
    with opened(f"sqlite:///{tmp_path / 'missing' / 'countersign.db'}") as nowhere:
        assert "unable to open database file" in _fails(nowhere.ping)


def test_a_pool_that_is_used_up_is_an_outage_and_serves_again(database: Database):
    with opened(url_of(database), pool=1) as small:
        small.engine.pool._timeout = 0.1  # type: ignore[attr-defined]
        with small.reading(), small.reading(), small.reading():
            assert "COUNTERSIGN_DATABASE_CONNECTIONS" in _fails(small.ping)
        small.ping()


def _kill_connections(database: Database) -> None:
    """End all others, and wait until they have ended."""
    with database.engine.connect() as connection:
        connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid()"
            )
        )


def test_a_connection_killed_between_two_statements_is_an_outage(postgresql: Database):
    with postgresql.unit() as connection:
        insert_anna(connection)
    with opened(url_of(postgresql)) as victim:

        def write() -> None:
            with victim.unit() as connection:
                insert_transaction(connection, "txn_1", SECRET)
                _kill_connections(postgresql)
                insert_transaction(connection, "txn_2", SECRET)

        _fails(write)
        assert (_names(victim), _parts(victim)) == ([], 0)


def test_a_connection_killed_before_the_commit_is_an_outage(postgresql: Database):
    with postgresql.unit() as connection:
        insert_anna(connection)
    with opened(url_of(postgresql)) as victim:

        def write() -> None:
            with victim.unit() as connection:
                insert_transaction(connection, "txn_1", SECRET)
                _kill_connections(postgresql)

        _fails(write)
        assert (_names(victim), _parts(victim)) == ([], 0)
        with victim.unit() as connection:
            insert_transaction(connection, "txn_1", SECRET)
        assert _names(victim) == ["txn_1"]


def test_connections_killed_while_nobody_used_them_are_replaced_unnoticed(postgresql: Database):
    with opened(url_of(postgresql)) as idle:
        with idle.reading(), idle.reading():
            pass
        _kill_connections(postgresql)
        idle.ping()


def test_a_server_that_is_not_there_is_an_outage():
    with (
        tempfile.TemporaryDirectory() as folder,  # short: a socket's path has 107 bytes at most
        opened(f"postgresql+psycopg://countersign@/postgres?host={folder}") as nowhere,
    ):
        told = _fails(nowhere.ping)
    assert folder in told
    assert "No such file" in told


@pytest.mark.parametrize(
    "setting", ["SET LOCAL statement_timeout = '50ms'", "SET LOCAL lock_timeout = '50ms'"]
)
def test_waiting_too_long_for_somebody_elses_row_is_an_outage(postgresql: Database, setting: str):
    with postgresql.unit() as connection:
        insert_anna(connection)
        insert_transaction(connection, "txn_1")
    touch = sa.update(table).values(failures=table.c.failures + 1)

    def wait() -> None:
        with postgresql.unit() as waiting:
            waiting.execute(sa.text(setting))
            waiting.execute(touch)

    with postgresql.unit() as holding:
        holding.execute(touch)
        _fails(wait)


def _limits(database: Database) -> list[str]:
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    with database.reading() as connection:
        return [connection.execute(sa.text(f"SHOW {name}")).scalar_one() for name in names]


def test_every_connection_has_limits_and_the_operator_can_set_others(postgresql: Database):
    assert _limits(postgresql) == ["5s", "15s", "30s"]
    url = postgresql.engine.url.update_query_dict({"options": "-c lock_timeout=9s"})
    with opened(url.render_as_string(hide_password=False)) as patient:
        assert _limits(patient) == ["9s", "15s", "30s"]


def test_a_row_that_stays_locked_is_an_outage_after_five_seconds(postgresql: Database):
    with postgresql.unit() as connection:
        insert_anna(connection)
        insert_transaction(connection, "txn_1")
    touch = sa.update(table).values(failures=table.c.failures + 1)

    def wait() -> None:
        with postgresql.unit() as waiting:
            waiting.execute(touch)

    with postgresql.unit() as holding:
        holding.execute(touch)
        begun = time.monotonic()
        _fails(wait)
        assert 4 < time.monotonic() - begun < 14  # at 15 the statement would be ended


def test_a_unit_in_which_nothing_is_asked_for_too_long_is_an_outage(postgresql: Database):
    def is_connected(number: int) -> bool:
        asked = sa.text("SELECT count(*) FROM pg_stat_activity WHERE pid = :number")
        with postgresql.reading() as connection:
            return bool(connection.execute(asked, {"number": number}).scalar_one())

    def idle() -> None:
        with postgresql.unit() as connection:
            number = int(connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())
            connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = '50ms'"))
            end = time.monotonic() + 20
            while is_connected(number) and time.monotonic() < end:
                time.sleep(0.02)
            connection.execute(sa.text("SELECT 1"))

    _fails(idle)
    postgresql.ping()


def test_preparing_a_database_may_take_its_time(postgresql: Database):
    with postgresql.alone() as connection:
        shown = connection.execute(sa.text("SHOW statement_timeout")).scalar_one()
    assert shown == "0"
    assert _limits(postgresql) == ["5s", "15s", "30s"]


def test_two_units_that_wait_for_each_other_end_in_one_outage(postgresql: Database):
    with postgresql.unit() as connection:
        insert_anna(connection)
        insert_transaction(connection, "txn_1")
        insert_transaction(connection, "txn_2")

    def touch(connection: Any, name: str) -> None:
        connection.execute(sa.update(table).where(table.c.id == name).values(failures=table.c.failures + 1))

    line = threading.Barrier(2)

    def work(each: int) -> str:
        names = ["txn_1", "txn_2"] if each else ["txn_2", "txn_1"]
        try:
            with postgresql.unit() as connection:
                touch(connection, names[0])
                line.wait(10)
                touch(connection, names[1])
        except Outage:
            return "outage"
        return "done"

    assert sorted(in_threads(2, work)) == ["done", "outage"]


def test_a_server_that_only_reads_is_an_outage_because_a_failover_is_under_way(postgresql: Database):
    with postgresql.unit() as connection:
        insert_anna(connection)

    def write() -> None:
        with postgresql.unit() as connection:
            connection.execute(sa.text("SET TRANSACTION READ ONLY"))
            insert_transaction(connection, "txn_1", SECRET)

    _fails(write)


def test_a_mistake_of_ours_is_no_outage_and_its_text_holds_no_content(database: Database):
    def insert_twice() -> None:
        with database.unit() as connection:
            insert_anna(connection)
            insert_transaction(connection, "txn_1", SECRET)
            insert_transaction(connection, "txn_1", SECRET)

    with pytest.raises(sa.exc.IntegrityError) as mistake:
        insert_twice()
    assert "bank.example" not in str(mistake.value)
    assert "text/plain" not in str(mistake.value)
