"""How do millions of rows get into a database? As copies of rows that the gateway wrote, with names of their own.

PostgreSQL takes them by COPY, without looking at foreign keys; SQLite without syncing. What nobody asks for (the keys
of users who do nothing, the proofs of past answers) is random or repeated, and no HSM vouches for it.
"""

import contextlib
import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
from rich.progress import track

Row = dict[str, Any]
_AT_ONCE = 20_000
_UNNUMBERED = ("number",)  # the database numbers events itself


class Loader:
    """One database."""

    def __init__(self, url: str) -> None:
        scheme, _, self._place = url.partition("://")
        self._is_sqlite = scheme == "sqlite"

    def model(self, table: str, where: str = "true") -> Row:
        """Return the first row of a table, as it can be written again."""
        statement = f"SELECT * FROM {table} WHERE {where} LIMIT 1"  # noqa: S608  # words of this program
        with self._connected() as connection:
            cursor = connection.execute(statement)
            names = [each[0] for each in cursor.description or ()]
            found = dict(zip(names, cursor.fetchone(), strict=True))
        return {name: _written(value) for name, value in found.items() if name not in _UNNUMBERED}

    def insert(self, table: str, rows: Iterable[Row], count: int) -> None:
        """Add `count` rows, all with the same columns."""
        ticking = iter(track(rows, f"Loading {table}", total=count, update_period=1))
        first = next(ticking, None)
        if first is None:
            return
        values = (list(row.values()) for row in _after(first, ticking))
        (self._insert_sqlite if self._is_sqlite else self._copy)(table, list(first), values)

    def _copy(self, table: str, columns: Sequence[str], values: Iterable[list[Any]]) -> None:
        with self._connected() as connection, connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            with cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
                for each in values:
                    copy.write_row(each)

    def _insert_sqlite(self, table: str, columns: Sequence[str], values: Iterable[list[Any]]) -> None:
        places = ", ".join("?" for _ in columns)
        with self._connected() as connection:
            connection.execute("PRAGMA synchronous = OFF")
            statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608
            connection.executemany(statement, values)

    def tidy(self) -> None:
        """Let the database learn what it holds now, as it does by itself some time after."""
        with self._connected() as connection:
            connection.execute("ANALYZE")

    def size(self) -> int:
        """Return the bytes of tables and indexes."""
        if self._is_sqlite:
            return sum(file.stat().st_size for file in Path(self._place).parent.glob("countersign.db*"))
        with self._connected() as connection:
            return int(connection.execute("SELECT pg_database_size(current_database())").fetchone()[0])

    def count(self, table: str) -> int:
        """Return how many rows a table has."""
        with self._connected() as connection:
            return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        if self._is_sqlite:
            with contextlib.closing(sqlite3.connect(self._place.removeprefix("/"))) as connection:
                yield connection
                connection.commit()
        else:
            with psycopg.connect(f"postgresql://{self._place}") as found:
                yield found


def _after(first: Row, rest: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rest


def _written(value: object) -> object:
    return json.dumps(value) if isinstance(value, dict | list) else value


def idle_users(model: dict[str, Row], names: Sequence[str]) -> dict[str, Iterator[Row]]:
    """Return rows for users, devices and keysets of people who do nothing."""
    changes: dict[str, Callable[[str], Row]] = {
        "users": lambda name: {"user_id": name},
        "devices": lambda name: {"id": f"dev_{name}", "user_id": name},
        "keysets": _idle_keyset,
    }
    return {table: _changed(model[table], change, names) for table, change in changes.items()}


def _changed(model: Row, change: Callable[[Any], Row], each: Iterable[Any]) -> Iterator[Row]:
    return (model | change(one) for one in each)


def _idle_keyset(name: str) -> Row:
    random = os.urandom(128)
    return {
        "id": f"ks_{name}",
        "user_id": name,
        "device_id": f"dev_{name}",
        "khmac": f"derived:master=1;salt={random[:32].hex()}",
        "kauth": f"derived:master=1;salt={random[32:64].hex()}",
        "kpublic": f"point:04{random[64:].hex()}",
        "binding": random[:32],
    }


def past_answers(model: dict[str, Row], names: Sequence[str], count: int) -> dict[str, Iterator[Row]]:
    """Return rows for so many past transactions of these users, with their attempts and events."""
    first = int(model["transactions"]["created_at_ms"]) - count  # one each millisecond, all before now

    def ids(number: int) -> tuple[str, str]:
        return f"{first + number:012x}7{number:019x}", names[number * 7919 % len(names)]

    def transaction(number: int) -> Row:
        name, user = ids(number)
        return {"id": f"txn_{name}", "user_id": user, "binding": secrets.token_bytes(32)}

    def attempt(number: int) -> Row:
        name, user = ids(number)
        return {
            "id": f"att_{name}",
            "transaction_id": f"txn_{name}",
            "keyset_id": f"ks_{user}",
            "code": os.urandom(32),
        }

    def event(number: int) -> Row:
        name, user = ids(number)
        return {
            "id": f"evt_{name}",
            "transaction_id": f"txn_{name}",
            "user_id": user,
            "keyset_id": f"ks_{user}",
        }

    changes = {"transactions": transaction, "attempts": attempt, "events": event}
    plain = {table: {k: v for k, v in model[table].items() if k != "created_at_ms"} for table in changes}
    return {table: _changed(plain[table], change, range(count)) for table, change in changes.items()}
