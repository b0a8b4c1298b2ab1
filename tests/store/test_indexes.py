"""Does a page of a long list come from an index, without a look at what belongs to others?"""

import pytest
import sqlalchemy as sa

from gateway.store import events, transactions
from gateway.store.database import Database
from tests.store.rows import APPLICATION, event, insert_anna, insert_transaction


def _plans(database: Database, listing: str) -> str:
    """Return how the database goes about the page that the listing asks for."""
    told: list[str] = []

    def explain(
        connection: sa.Connection, cursor: object, statement: str, values: object, *_: object
    ) -> None:
        if statement.startswith("SELECT"):
            how = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
            told.extend(map(str, connection.exec_driver_sql(how + statement, values).all()))  # type: ignore[arg-type]

    with database.reading() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
        sa.event.listen(connection, "before_cursor_execute", explain)
        if listing == "events":
            events.list_events(connection, APPLICATION, filters={}, after=5, through=10**9, limit=10)
        else:
            transactions.list_transactions(
                connection, APPLICATION, user_id=None, status=None, after="txn_5", limit=10
            )
    return "\n".join(told)


@pytest.mark.parametrize(
    ("listing", "index"),
    [
        ("events", "ix_events_application_id_number"),
        ("transactions", "ix_transactions_application_id_id"),
    ],
)
def test_a_page_comes_from_an_index_in_its_order(database: Database, listing: str, index: str):
    with database.unit() as connection:
        insert_anna(connection)
        events.append_events(connection, [event(f"evt_{number}") for number in range(20)])
        for number in range(20):
            insert_transaction(connection, f"txn_{number}")
    plan = _plans(database, listing)
    assert index in plan
    assert "sort" not in plan.lower()
    assert "temp b-tree" not in plan.lower()
