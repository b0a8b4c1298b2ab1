"""How does a database go about a statement, and does that take longer the more rows there are?"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gateway.store.database import Connection
from gateway.store.tables import metadata

# They grow with users, with what users do, and with time.
GROWING = {
    "attempts", "authentications", "contents", "deliveries", "devices", "events", "idempotency", "keysets",
    "loose_keys", "pushes", "replays", "transactions", "users",
}  # fmt: skip
# Few rows share one of these.
NAMES = {
    "authcode", "device_id", "id", "kauth", "keyset_id", "key", "khmac", "kpublic", "message_sha256",
    "transaction_id", "uri", "user_id",
}  # fmt: skip
# Of what is due there is as much as there is to do.
DUE = {"doomed_at", "expires_at", "failures", "lapses_at", "next_at", "planned_at"}
_PARTIAL = {
    index.name
    for table in metadata.tables.values()
    for index in table.indexes
    if index.dialect_options["sqlite"]["where"] is not None
}
_SQLITE = re.compile(
    r"(?P<how>SCAN|SEARCH) (?P<table>\w+)(?: USING (?:COVERING )?INDEX (?P<index>\w+)| USING INTEGER PRIMARY KEY)?"
    r"(?: \((?P<columns>.*)\))?$"
)
_LAST = re.compile(r"max\((?:\w+\.)?(?:rowid|number)\)")
_NAMED = (
    r"\b{table}\.(?:{names})(?: =|\)? IN| = ANY) ?\(*(?:VALUES \(*|SELECT value FROM json_each\()?(?:\?|%\()"
)


@dataclass(frozen=True)
class Look:
    """One look into one table: by which columns of which index, and which other conditions are tried row by row."""

    table: str
    index: str | None
    columns: frozenset[str]
    is_filtered: bool = False


@dataclass(frozen=True)
class Plan:
    """How a statement is answered: each look, and whether rows are sorted before the first is known."""

    statement: str
    looks: Sequence[Look]
    sorts: bool
    told: str

    def faults(self) -> list[str]:
        """Return what takes longer with each row that was ever written."""
        return [f"{look} for {self.statement}\n{self.told}" for look in self.looks if self._is_walk(look)]

    def _is_walk(self, look: Look) -> bool:
        if look.table not in GROWING or look.columns & NAMES:
            return False
        named = _NAMED.format(table=look.table, names="|".join(sorted(NAMES)))
        if re.search(named, self.statement):
            return True  # and another way to the rows was taken
        if look.columns & DUE or (look.index in _PARTIAL and not look.columns):
            return False
        is_page = look.index is not None and "LIMIT" in self.statement and bool(look.columns)
        return not is_page or self.sorts or look.is_filtered


@contextmanager
def explained(connection: Connection) -> Iterator[list[Plan]]:
    """Give the plans of what is sent meanwhile."""
    plans: list[Plan] = []

    def explain(_connection: Connection, _cursor: object, statement: str, values: Any, *_: object) -> None:
        if statement.split(maxsplit=1)[0] in ("SELECT", "UPDATE", "DELETE", "INSERT", "WITH"):
            one = values[0] if isinstance(values, list) else values  # the first of many rows
            plans.append(plan_of(connection, statement, one))

    sa.event.listen(connection, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        sa.event.remove(connection, "before_cursor_execute", explain)


def plan_of(connection: Connection, statement: str, values: Any = ()) -> Plan:
    """Return how the database would answer this."""
    plain = " ".join(statement.split())
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
        return _of_sqlite(plain, [str(row[3]) for row in rows])
    (tree,) = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values).scalar_one()
    return _of_postgresql(plain, list(_nodes(tree["Plan"])))


def _of_sqlite(statement: str, lines: Sequence[str]) -> Plan:
    looks = []
    for found in filter(None, map(_SQLITE.match, lines)):
        if found[0] == f"SEARCH {found['table']}" and _LAST.search(statement):
            continue  # the end of the table
        alias = re.search(rf"(\w+) AS {found['table']}\b", statement)
        columns = re.findall(r"(\w+)[=<>]", found["columns"] or "")
        searched = found["how"] == "SEARCH"
        index = found["index"] or ("the key" if searched else None)
        looks.append(Look(alias[1] if alias else found["table"], index, frozenset(columns)))
    return Plan(statement, looks, any("FOR ORDER BY" in line for line in lines), "\n".join(lines))


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)


def _of_postgresql(statement: str, nodes: Sequence[Mapping[str, Any]]) -> Plan:
    tables = {index.name: table.name for table in metadata.tables.values() for index in table.indexes}
    looks, told = [], []
    for node in nodes:
        index, condition = node.get("Index Name"), node.get("Index Cond", "")
        table = node.get("Relation Name") or tables.get(index) or str(index).removeprefix("pk_")
        told.append(f"{node['Node Type']} {table} {index} {condition} {node.get('Filter', '')}")
        if index is None and node["Node Type"] != "Seq Scan":
            continue
        known = metadata.tables[table].c if table in metadata.tables else ()
        columns = frozenset(column.name for column in known if re.search(rf"\b{column.name}\b", condition))
        looks.append(Look(table, index, columns, is_filtered="Filter" in node))
    return Plan(statement, looks, any(node["Node Type"] == "Sort" for node in nodes), "\n".join(told))
