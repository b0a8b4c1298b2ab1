"""Does the database itself refuse any change of an event that was written?"""

import pytest
import sqlalchemy as sa

from gateway.store import events
from gateway.store.database import Database
from tests.store.racing import in_threads
from tests.store.rows import APPLICATION, event

CHANGES = [
    "UPDATE events SET result = 'forged'",
    "UPDATE events SET detail = '{}' WHERE id = 'evt_1'",
    "DELETE FROM events",
    "DELETE FROM events WHERE id = 'evt_2'",
]


@pytest.fixture
def log(database: Database) -> Database:
    """A database with three events."""
    with database.unit() as connection:
        events.append_events(connection, [event(f"evt_{number}") for number in (1, 2, 3)])
    return database


def _lines(database: Database, after: int = 0, limit: int = 100) -> list[tuple[int, str, str]]:
    with database.reading() as connection:
        page = events.list_events(connection, APPLICATION, filters={}, after=after, limit=limit)
    return [(number, line.id, line.result) for number, line in page]


@pytest.mark.parametrize("change", CHANGES)
def test_a_written_event_can_be_neither_changed_nor_deleted(log: Database, change: str):
    before = _lines(log)
    with pytest.raises(sa.exc.DBAPIError, match="the event log only grows"), log.unit() as connection:
        connection.execute(sa.text(change))
    assert _lines(log) == before
    assert len(before) == 3


@pytest.mark.parametrize(("number", "name"), [(1, "evt_9"), (9, "evt_1"), (1, "evt_1")])
def test_an_insert_cannot_take_the_place_of_an_event(log: Database, number: int, name: str):
    before = _lines(log)
    verb = "INSERT OR REPLACE INTO" if log.is_sqlite else "INSERT INTO"
    forged = sa.text(
        f"{verb} events (number, id, type, result, detail, created_at) "
        "VALUES (:number, :name, 'user.created', 'forged', '{}', '2030-01-01 00:00:00')"
    )
    with pytest.raises(sa.exc.DBAPIError), log.unit() as connection:
        connection.execute(forged, {"number": number, "name": name})
    assert _lines(log) == before


def test_postgresql_refuses_to_truncate_the_log(postgresql: Database):
    with postgresql.unit() as connection:
        events.append_events(connection, [event("evt_1")])
    for statement in ("TRUNCATE events", "TRUNCATE events CASCADE", "TRUNCATE events RESTART IDENTITY"):
        with pytest.raises(sa.exc.DBAPIError, match="only grows"), postgresql.unit() as connection:
            connection.execute(sa.text(statement))
    assert len(_lines(postgresql)) == 1


def test_lines_written_by_many_get_each_their_own_number(database: Database):
    def append(each: int) -> None:
        with database.unit() as connection:
            events.append_events(connection, [event(f"evt_{each}_{line}") for line in range(5)])

    in_threads(8, append)
    numbers = [number for number, _, _ in _lines(database)]
    assert len(numbers) == len(set(numbers)) == 40
    assert numbers == sorted(numbers)


def test_pages_of_the_log_follow_each_other_without_gap_and_overlap(log: Database):
    whole = _lines(log)
    first = _lines(log, limit=2)
    assert first + _lines(log, after=first[-1][0]) == whole
    assert _lines(log, after=whole[-1][0]) == []
