"""Does every statement of the gateway find its rows by an index, however many other rows there are?

Without statistics SQLite takes whichever index promises most by its columns, and PostgreSQL takes by its statistics
what would be quick for the rows it expects. Both have to be led to the right one.
"""

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

import pytest
import sqlalchemy as sa

from gateway import store
from gateway.store.database import Connection, Database
from gateway.store.tables import metadata
from tests.store.asked import QUESTIONS
from tests.store.crowded import fill, learn
from tests.store.databases import KINDS, migrated_database
from tests.store.plans import Plan, explained, plan_of

# What may walk, and why.
WALKS = {
    "holdings.named_keys": "the doctor compares every row with the token",
    "holdings.count_since": "the doctor counts what happened to every key",
    "loose_keys.known_uris": "the doctor compares every row with the token",
    "rotating.rows_by_version": "an operator asks who still uses an old key, before it is destroyed",
    "rotating.derived_names": "an operator asks who still uses an old key, before it is destroyed",
    "rotating.users_bound_before": "an operator changes a key: every row is bound anew, in their order",
    "rotating.transactions_bound_before": "an operator changes a key: every row is bound anew, in their order",
    "events.lines_of": "reads what came since it last looked, and no more",
    "events.subjects": "reads what came since it last looked, and no more",
    "events.list_events (of a type)": "an index of types would cost each event, and few ask",
    "events.list_events (of a keyset)": "an index of keysets would cost each event, and few ask",
    "waiting.large_waiting": "adds up what it is there to limit, in an index that holds nothing else",
    "transactions.list_transactions (of a state)": "an index of states would cost each answer, and few ask",
}
ROWS = 400  # of PostgreSQL's tables; it is made to believe that there are a thousand times as many
_BELIEVE = "UPDATE pg_class SET reltuples = reltuples * 1000 WHERE relnamespace = 'public'::regnamespace"

# Tables of these have a row for each application, version or key of the house, and none for users or what they do.
_SMALL = ("applications", "database", "house_keys", "receipt_keys")
_BY_OTHERS = ("many",)  # asked by asking the others


@pytest.fixture(scope="module", params=KINDS)
def crowded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database in which much has happened, as it stands at a gateway: SQLite has no statistics there."""
    with migrated_database(request.param, tmp_path_factory.mktemp("crowded")) as database:
        if not database.is_sqlite:
            _leave_alone(database)
        fill(database, users=ROWS, settled=2 * ROWS, pending=ROWS // 2)
        if not database.is_sqlite:
            learn(database)
            with database.unit() as connection:
                connection.exec_driver_sql(_BELIEVE)
        yield database


def _leave_alone(database: Database) -> None:
    """Keep PostgreSQL from looking at its tables by itself: it would find out what it was made to believe."""
    with database.unit() as connection:
        for table in metadata.sorted_tables:
            connection.exec_driver_sql(f"ALTER TABLE {table.name} SET (autovacuum_enabled = off)")


def _plans(database: Database, name: str, *settings: str) -> list[Plan]:
    with database.engine.connect() as connection, connection.begin() as unit:
        for each in settings:
            connection.exec_driver_sql(each)
        with explained(connection) as plans:
            QUESTIONS[name](connection)
        unit.rollback()
    return plans


def _faults(database: Database, *settings: str) -> str:
    """Return what is wrong with statements that may not walk."""
    found = [
        f"{name}: {fault}"
        for name in QUESTIONS
        if name not in WALKS
        for plan in _plans(database, name, *settings)
        for fault in plan.faults()
    ]
    return "\n\n".join(found)


def _functions() -> set[str]:
    """Return the functions of the store that a question has to be asked of, as ``module.function``."""
    found = set()
    for each in pkgutil.iter_modules(store.__path__):
        if each.name not in (*_SMALL, *_BY_OTHERS, "migrations"):
            found |= _of(import_module(f"gateway.store.{each.name}"), each.name)
    return found


def _of(module: ModuleType, name: str) -> set[str]:
    found = set()
    for function, value in vars(module).items():
        here = inspect.isfunction(value) and value.__module__ == module.__name__ and function[0] != "_"
        if here and next(iter(inspect.signature(value).parameters), "") == "connection":
            found.add(f"{name}.{function}")
    return found


def test_every_function_of_the_store_is_asked_for_its_plans():
    assert {name.split()[0] for name in QUESTIONS} == _functions()
    assert set(WALKS) <= set(QUESTIONS)


def test_every_statement_finds_its_rows_by_an_index_that_names_them(crowded: Database):
    assert _faults(crowded) == ""


def test_postgresql_never_needs_to_read_a_whole_table(crowded: Database):
    if crowded.is_sqlite:
        pytest.skip("it cannot be told to avoid that")
    assert _faults(crowded, "SET LOCAL enable_seqscan = off") == ""


def test_sqlite_finds_them_also_after_an_operator_had_it_look_at_its_tables(crowded: Database):
    if not crowded.is_sqlite:
        pytest.skip("PostgreSQL always does")
    learn(crowded)
    assert _faults(crowded) == ""


@pytest.mark.parametrize(
    ("index", "statement"),
    [
        ("", "SELECT * FROM users WHERE (users.application_id, users.user_id) IN ((?, ?), (?, ?))"),
        ("(status, expires_at)",
         "SELECT * FROM transactions WHERE transactions.id IN (?, ?) AND status = ? AND expires_at > ?"),
        ("", "SELECT count(*) FROM deliveries WHERE deliveries.status = ? AND ? AND ? AND ?"),
    ],
)  # fmt: skip
def test_a_statement_that_walks_would_be_noticed(sqlite: Database, index: str, statement: str):
    with sqlite.unit() as connection:
        if index:
            connection.execute(sa.text(f"CREATE INDEX misleading ON transactions {index}"))
        assert _walks(connection, statement)


def _walks(connection: Connection, statement: str) -> bool:
    return bool(plan_of(connection, statement, ("1", "2", "3", "4")).faults())
