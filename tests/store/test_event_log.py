"""Does the database itself refuse any change of an event that was written?"""

import threading

import pytest
import sqlalchemy as sa

from gateway.store import events
from gateway.store.database import Database
from tests.store.racing import in_threads
from tests.store.rows import APPLICATION, event, insert_anna

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
        through = events.horizon(connection).complete
    with database.reading() as connection:
        page = events.list_events(
            connection, APPLICATION, filters={}, after=after, through=through, limit=limit
        )
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


def test_a_reader_never_passes_a_line_that_is_committed_later(postgresql: Database):
    with postgresql.unit() as slow:
        events.append_events(slow, [event("evt_slow")])
        with postgresql.unit() as quick:
            events.append_events(quick, [event("evt_quick")])
        assert _lines(postgresql) == []
    assert [name for _, name, _ in _lines(postgresql)] == ["evt_slow", "evt_quick"]


def test_it_does_not_matter_which_of_the_units_began_first(postgresql: Database):
    with postgresql.unit() as first:
        insert_anna(first)
        with postgresql.unit() as second:
            events.append_events(second, [event("evt_1")])
            events.append_events(first, [event("evt_2")])
            first.commit()
            assert _lines(postgresql) == []
        assert [name for _, name, _ in _lines(postgresql)] == ["evt_1", "evt_2"]


def test_what_was_committed_before_is_read_while_a_unit_appends(postgresql: Database):
    with postgresql.unit() as connection:
        events.append_events(connection, [event("evt_1"), event("evt_2")])
    with postgresql.unit() as open_unit:
        events.append_events(open_unit, [event("evt_3")])
        assert [name for _, name, _ in _lines(postgresql)] == ["evt_1", "evt_2"]


def test_a_unit_that_fails_holds_no_reader_back(postgresql: Database):
    with postgresql.unit() as connection:
        events.append_events(connection, [event("evt_1")])
        connection.rollback()
    with postgresql.unit() as connection:
        events.append_events(connection, [event("evt_2")])
    assert [name for _, name, _ in _lines(postgresql)] == ["evt_2"]


def test_a_reader_that_follows_many_writers_misses_nothing(postgresql: Database):
    seen: list[str] = []
    done = threading.Event()

    def follow() -> None:
        after = 0
        while True:
            last_round = done.is_set()
            page = _lines(postgresql, after=after, limit=7)
            seen.extend(name for _, name, _ in page)
            after = page[-1][0] if page else after
            if last_round and not page:
                return

    def append(each: int) -> None:
        for line in range(20):
            with postgresql.unit() as connection:
                connection.execute(sa.text("SELECT pg_current_xact_id(), pg_sleep(random() / 200)"))
                events.append_events(connection, [event(f"evt_{each}_{line}")])
                connection.execute(sa.text("SELECT pg_sleep(random() / 200)"))

    reader = threading.Thread(target=follow)
    reader.start()
    in_threads(8, append)
    done.set()
    reader.join(30)
    assert sorted(seen) == sorted(f"evt_{each}_{line}" for each in range(8) for line in range(20))
