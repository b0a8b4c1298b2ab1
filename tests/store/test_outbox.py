"""Is each callback worked on by one at a time, in its transaction's order, and never forgotten?"""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from gateway.rules.delivery import TRANSITIONS, DeliveryAction, DeliveryStatus
from gateway.store import applications, deliveries
from gateway.store.database import Database
from gateway.store.tables import deliveries as table
from tests.store.databases import url_of
from tests.store.racing import in_processes, in_threads
from tests.store.rows import APPLICATION, NOW, application, insert_anna, insert_delivery, insert_transaction

MINUTE = timedelta(minutes=1)
OPEN = """
from datetime import timedelta
from gateway.store import applications, deliveries
from gateway.store.database import Database
from tests.store.rows import NOW
database = Database(sys.argv[1])
"""
CLAIM = """
while True:
    with database.unit() as connection:
        claimed = deliveries.claim_deliveries(connection, NOW, NOW + timedelta(minutes=1), {"app_1": 3})
    if not claimed:
        break
    for delivery in claimed:
        print(delivery.id)
"""


@pytest.fixture
def outbox(database: Database) -> Database:
    """A database whose outbox has 3 callbacks of one transaction, 1 of another, and 1 of none."""
    with database.unit() as connection:
        insert_anna(connection)
        insert_transaction(connection, "txn_1")
        insert_transaction(connection, "txn_2")
        for name, transaction, sequence in [
            ("msg_3", "txn_1", 3),
            ("msg_1", "txn_1", 1),
            ("msg_2", "txn_1", 2),
            ("msg_other", "txn_2", 1),
            ("msg_user", None, 0),
        ]:
            insert_delivery(connection, name, transaction, sequence)
    return database


def _claim(database: Database, now: datetime = NOW) -> set[str]:
    with database.unit() as connection:
        return {
            delivery.id
            for delivery in deliveries.claim_deliveries(connection, now, now + MINUTE, {APPLICATION: 20})
        }


def _end(database: Database, name: str, how: DeliveryAction = DeliveryAction.ARRIVE) -> None:
    with database.unit() as connection:
        deliveries.note_try(connection, name, how, None, now=NOW)


def _fail(database: Database, name: str) -> None:
    with database.unit() as connection:
        deliveries.note_try(
            connection, name, DeliveryAction.FAIL, "no answer in time", now=NOW, next_at=NOW + MINUTE
        )


def _row(database: Database, name: str) -> dict[str, object]:
    with database.reading() as connection:
        return dict(connection.execute(sa.select(table).where(table.c.id == name)).one()._mapping)


def test_only_the_first_of_a_transaction_is_claimed_and_each_only_once(outbox: Database):
    assert _claim(outbox) == {"msg_1", "msg_other", "msg_user"}
    assert _claim(outbox) == set()


@pytest.mark.parametrize("end", [DeliveryAction.ARRIVE, DeliveryAction.GIVE_UP])
def test_the_next_of_a_transaction_follows_when_the_one_before_has_ended(
    outbox: Database, end: DeliveryAction
):
    _claim(outbox)
    _end(outbox, "msg_1", end)
    assert _claim(outbox) == {"msg_2"}
    _end(outbox, "msg_2", end)
    assert _claim(outbox) == {"msg_3"}


def test_a_postponed_callback_holds_up_its_transaction_until_it_is_due(outbox: Database):
    _claim(outbox)
    _fail(outbox, "msg_1")
    assert _claim(outbox) == set()
    assert "msg_2" not in _claim(outbox, NOW + MINUTE)
    assert _row(outbox, "msg_1")["tries"] == 1


def test_a_lost_claim_comes_back_when_its_time_is_over_and_not_before(outbox: Database):
    first = _claim(outbox)
    assert _claim(outbox, NOW + MINUTE - timedelta(microseconds=1)) == set()
    assert _claim(outbox, NOW + MINUTE) == first


def test_a_delivered_callback_loses_its_body_and_one_given_up_keeps_it(outbox: Database):
    _end(outbox, "msg_1")
    _end(outbox, "msg_other", DeliveryAction.GIVE_UP)
    assert _row(outbox, "msg_1")["body"] is None
    assert _row(outbox, "msg_other")["body"] == "{}"


def test_every_try_leads_from_every_state_where_the_table_says(outbox: Database):
    reach = {"pending": [], "delivered": [DeliveryAction.ARRIVE], "given_up": [DeliveryAction.GIVE_UP]}
    for status in DeliveryStatus:
        for action in DeliveryAction:
            name = f"msg_{status}_{action}"
            with outbox.unit() as connection:
                insert_delivery(connection, name)
            for step in reach[status]:
                _end(outbox, name, step)
            before = _row(outbox, name)
            if action is DeliveryAction.FAIL:
                _fail(outbox, name)
            else:
                _end(outbox, name, action)
            after = _row(outbox, name)
            assert after["status"] == TRANSITIONS.get((status, action), status), name
            assert (after == before) is ((status, action) not in TRANSITIONS), name


def test_of_each_application_no_more_is_claimed_than_there_is_room_for(outbox: Database):
    with outbox.unit() as connection:
        applications.insert_application(connection, replace(application(), id="app_2", name="another"))
        for name in ("msg_a", "msg_b", "msg_c"):
            insert_delivery(connection, name, application_id="app_2")
    with outbox.reading() as connection:
        assert set(deliveries.due_applications(connection, NOW)) == {APPLICATION, "app_2"}
        assert deliveries.due_applications(connection, NOW - MINUTE) == []
    with outbox.unit() as connection:
        claimed = deliveries.claim_deliveries(connection, NOW, NOW + MINUTE, {APPLICATION: 1, "app_2": 2})
    assert Counter(each.application_id for each in claimed) == {APPLICATION: 1, "app_2": 2}
    _claim(outbox)
    with outbox.reading() as connection:
        # Those of the other application wait for the ones before them.
        assert deliveries.due_applications(connection, NOW) == ["app_2"]


def test_workers_in_threads_share_the_outbox_without_overlap_and_without_rest(database: Database):
    names = _fill(database)

    def work(each: int) -> list[str]:
        mine: list[str] = []
        while claimed := _some(database):
            mine += claimed
        return mine

    taken = Counter(name for mine in in_threads(6, work) for name in mine)
    taken.update(_claim(database))  # what a thread passed over because another was about to take it
    assert taken == Counter(names)


def test_workers_in_processes_share_the_outbox_without_overlap(database: Database):
    names = _fill(database)
    outputs = in_processes(3, OPEN, CLAIM, url_of(database))
    taken = Counter(name for output in outputs for name in output.split())
    taken.update(_claim(database))
    assert taken == Counter(names)


def test_a_whole_transaction_is_worked_off_in_order_by_many_at_once(outbox: Database):
    order: list[str] = []

    def work(each: int) -> None:
        for _ in range(20):
            for name in _some(outbox):
                order.append(name)
                _end(outbox, name)

    in_threads(4, work)
    assert [name for name in order if name in {"msg_1", "msg_2", "msg_3"}] == ["msg_1", "msg_2", "msg_3"]
    assert Counter(order) == Counter(["msg_1", "msg_2", "msg_3", "msg_other", "msg_user"])


def _fill(database: Database) -> list[str]:
    names = [f"msg_{number:02}" for number in range(18)]
    with database.unit() as connection:
        insert_anna(connection)
        for number, name in enumerate(names):
            insert_transaction(connection, f"txn_{number}")
            insert_delivery(connection, name, f"txn_{number}", 1)
    return names


def _some(database: Database) -> list[str]:
    with database.unit() as connection:
        return [
            found.id for found in deliveries.claim_deliveries(connection, NOW, NOW + MINUTE, {APPLICATION: 3})
        ]


def test_a_file_does_not_keep_the_room_of_bodies_that_arrived(sqlite: Database):
    with sqlite.unit() as connection:
        insert_anna(connection)
    before = _pages(sqlite)
    names = [f"msg_{number:02}" for number in range(50)]
    for name in names:
        with sqlite.unit() as connection:
            insert_delivery(connection, name)
            connection.execute(sa.update(table).where(table.c.id == name).values(body="x" * 3000))
    for name in names:
        with sqlite.unit() as connection:
            deliveries.note_try(connection, name, DeliveryAction.ARRIVE, None, now=NOW)
    assert _pages(sqlite) - before < 10  # of 4096 bytes; the bodies alone took 50


def _pages(database: Database) -> int:
    """Return how many pages of the file are in use."""
    with database.reading() as connection:
        pages, free = (
            connection.exec_driver_sql(f"PRAGMA {each}").scalar_one()
            for each in ("page_count", "freelist_count")
        )
        return int(pages) - int(free)
