"""How does one statement take many values or many rows, whatever their number?

As a single parameter: then its text is always the same, is built here once and is parsed and planned there once. A
row more costs PostgreSQL less than half of what it costs as a statement of its own.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from functools import cache, lru_cache
from itertools import chain
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class _Texts(sa.types.UserDefinedType[Collection[str]]):
    """A list of texts as one parameter: an array, or where there is none the text of one."""

    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[Collection[str] | None], Any]:
        return _as_array_text if dialect.name == "sqlite" else _as_list


def _as_list(values: Collection[str] | None) -> list[str]:
    return list(values or ())


def _as_array_text(values: Collection[str] | None) -> str:
    return orjson.dumps(_as_list(values)).decode()


# Of no type: of a Boolean SQLAlchemy would have SQLite ask whether it is 1, and that is past every index.
class _Among(FunctionElement[Any]):
    inherit_cache = True


@compiles(_Among, "sqlite")
def _among_of_json(element: _Among, compiler: SQLCompiler, **kw: Any) -> str:
    column, values = (compiler.process(each, **kw) for each in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - both are of the compiler


@compiles(_Among, "postgresql")
def _among_of_array(element: _Among, compiler: SQLCompiler, **kw: Any) -> str:
    column, values = (compiler.process(each, **kw) for each in element.clauses)
    return f"{column} = ANY({values})"


def among(column: sa.Column[str], name: str) -> sa.ColumnElement[bool]:
    """Say that the column has one of the texts given under this name, in any number."""
    return _Among(column, sa.bindparam(name, type_=_Texts()))


def append(connection: Connection, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows, all with the same columns."""
    if not rows:
        return
    names = tuple(rows[0])
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_into(table, names) + _places(names), _as_tuples(connection, table, rows))
    else:
        connection.execute(_text(_of_json(table, names)), {"rows": _as_json(rows)})


def insert_where_new(
    connection: Connection, table: sa.Table, rows: Sequence[dict[str, Any]]
) -> Sequence[Any]:
    """Insert the rows whose keys are not taken; return the keys of those. Never fails the unit."""
    names = tuple(rows[0])
    # The keys are asked back, because drivers do not agree on the count of rows of an insert.
    where_new = f" ON CONFLICT DO NOTHING RETURNING {_named(table.primary_key.columns.keys())}"
    if connection.dialect.name == "sqlite":
        places = ", ".join([_places(names)] * len(rows))
        values = tuple(chain.from_iterable(_as_tuples(connection, table, rows)))
        found = connection.exec_driver_sql(_into(table, names) + places + where_new, values)
    else:
        found = connection.execute(_text(_of_json(table, names) + where_new), {"rows": _as_json(rows)})
    return found.all()


def insert_new(connection: Connection, table: sa.Table, **values: Any) -> bool:
    """Insert a row unless its key is taken; say whether it was inserted. Never fails the unit."""
    return bool(insert_where_new(connection, table, [values]))


@cache
def _into(table: sa.Table, names: tuple[str, ...]) -> str:
    return f"INSERT INTO {table.name} ({_named(names)}) VALUES "  # noqa: S608 - names of our own tables


def _named(names: Iterable[str]) -> str:
    return ", ".join(names)


@cache
def _places(names: tuple[str, ...]) -> str:
    return f"({', '.join('?' * len(names))})"


def _as_tuples(
    connection: Connection, table: sa.Table, rows: Sequence[dict[str, Any]]
) -> list[tuple[Any, ...]]:
    """Return the values as SQLite takes them; on SQLAlchemy's own way, an insertion takes half as long again."""
    processors = _processors(table, tuple(rows[0]), connection.dialect)
    return [
        tuple(
            [
                value if process is None else process(value)
                for process, value in zip(processors, row.values(), strict=True)
            ]
        )
        for row in rows
    ]


@lru_cache(maxsize=64)  # there is one dialect for each engine
def _processors(
    table: sa.Table, names: tuple[str, ...], dialect: Dialect
) -> tuple[Callable[[Any], Any] | None, ...]:
    types = (table.c[name].type.dialect_impl(dialect) for name in names)
    return tuple(each.bind_processor(dialect) for each in types)


@cache
def _of_json(table: sa.Table, names: tuple[str, ...]) -> str:
    """Return the insertion of rows that come as one JSON text; PostgreSQL knows the types of their columns."""
    columns = _named(names)
    return (
        f"INSERT INTO {table.name} ({columns}) "  # noqa: S608 - names of our own tables
        f"SELECT {columns} FROM json_populate_recordset(NULL::{table.name}, CAST(:rows AS json))"
    )


@cache
def _text(statement: str) -> sa.TextClause:
    return sa.text(statement)


def _as_json(rows: Sequence[dict[str, Any]]) -> str:
    return orjson.dumps(rows, default=_as_text, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a naive datetime reached the store")
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be a column's value")
