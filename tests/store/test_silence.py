"""Does a server that keeps its connections and says nothing hold up nobody for longer than its own limits?"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.refusals import Outage
from gateway.store.database import Database
from tests.store.databases import opened
from tests.store.standing_still import Line, line_to


@pytest.fixture
def behind_a_line(postgresql: Database) -> Iterator[tuple[Database, Line]]:
    """A way into the database that can stand still, limited to 0.6 s for a statement, so to 1.2 s for silence."""
    url = postgresql.engine.url
    with tempfile.TemporaryDirectory() as folder, line_to(Path(str(url.query["host"])), Path(folder)) as line:
        changed = url.update_query_dict(
            {"host": folder, "options": "-c statement_timeout=600ms", "connect_timeout": "2"}
        )
        with opened(changed.render_as_string(hide_password=False)) as database:
            yield database, line


def test_a_statement_that_is_never_answered_is_an_outage_and_the_next_one_is_answered(
    behind_a_line: tuple[Database, Line],
) -> None:
    database, line = behind_a_line
    database.ping()

    def ask_in_vain() -> None:
        with database.unit() as connection:
            line.hold()
            connection.execute(sa.text("SELECT 1"))

    began = time.monotonic()
    with pytest.raises(Outage):
        ask_in_vain()
    assert time.monotonic() - began < 10
    line.release()
    database.ping()


def test_a_connection_that_is_never_answered_is_an_outage_and_others_need_not_wait_for_it(
    behind_a_line: tuple[Database, Line],
) -> None:
    database, line = behind_a_line
    line.hold()
    began = time.monotonic()
    with pytest.raises(Outage):
        database.ping()
    assert 1 < time.monotonic() - began < 15
    began = time.monotonic()
    with pytest.raises(Outage, match="a moment ago"):
        database.ping()
    assert time.monotonic() - began < 2  # connecting is given up after that


def test_a_unit_that_is_asked_something_now_and_then_may_take_its_time(
    behind_a_line: tuple[Database, Line],
) -> None:
    database, _ = behind_a_line
    with database.unit() as connection:
        for _ in range(9):
            connection.execute(sa.text("SELECT 1"))
            time.sleep(0.15)
        assert connection.execute(sa.text("SELECT 1")).scalar_one() == 1


def test_preparing_a_database_may_be_silent_for_long(behind_a_line: tuple[Database, Line]) -> None:
    database, _ = behind_a_line
    with database.alone() as connection:
        connection.execute(sa.text("SELECT pg_sleep(1.5)"))
