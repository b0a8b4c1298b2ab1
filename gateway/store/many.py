"""How does one statement take many values or many rows, whatever their number?

As a single parameter: then its text is always the same, is built here once and is parsed and planned there once. A
row more costs PostgreSQL less than half of what it costs as a statement of its own.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
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
    if connection.dialect.name == "sqlite":
        connection.execute(_insertion(table), rows)
    else:
        connection.execute(_of_json(table, tuple(rows[0])), {"rows": _as_json(rows)})


def insert_where_new(
    connection: Connection, table: sa.Table, rows: Sequence[dict[str, Any]]
) -> Sequence[Any]:
    """Insert the rows whose keys are not taken; return the keys of those. Never fails the unit."""
    return connection.execute(_insertion_where_new(table, connection.dialect.name), rows).all()


def insert_new(connection: Connection, table: sa.Table, **values: Any) -> bool:
    """Insert a row unless its key is taken; say whether it was inserted. Never fails the unit."""
    return bool(insert_where_new(connection, table, [values]))


@cache
def _insertion(table: sa.Table) -> sa.Insert:
    return sa.insert(table)


@cache
def _insertion_where_new(table: sa.Table, dialect: str) -> sa.Executable:
    build = sqlite.insert if dialect == "sqlite" else postgresql.insert
    # The keys are asked back, because drivers do not agree on the count of rows of an insert.
    return build(table).on_conflict_do_nothing().returning(*table.primary_key.columns)


@cache
def _of_json(table: sa.Table, names: tuple[str, ...]) -> sa.TextClause:
    """Return the insertion of rows that come as one JSON text; PostgreSQL knows the types of their columns."""
    columns = ", ".join(table.c[name].name for name in names)
    return sa.text(
        f"INSERT INTO {table.name} ({columns}) "  # noqa: S608 - names of our own tables
        f"SELECT {columns} FROM json_populate_recordset(NULL::{table.name}, CAST(:rows AS json))"
    )


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
