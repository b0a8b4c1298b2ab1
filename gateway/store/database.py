"""How does a unit of work reach the database: engines for SQLite and PostgreSQL, and ``unit()``.

A unit is one database transaction: everything in it is there afterwards, or nothing is. Units are plain
synchronous code, run in a thread, and never held open while talking to the device or the network.

Locks are taken in this order, by locking or by changing a row: user, transaction, delivery. Two units that keep to
it wait for each other and never in a circle. Where one is chosen to yield all the same, ``Collision`` says so.
"""

import select
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from gateway.refusals import Outage
from gateway.store import losses
from gateway.store.silence import SilenceWatch

_WRITER_SECONDS = 15  # that one who wants to write waits for others
_SQLITE_PRAGMAS = (
    f"PRAGMA busy_timeout={_WRITER_SECONDS * 1000}",
    "PRAGMA synchronous=FULL",  # a commit that was answered survives a power cut
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",  # cleared content leaves no bytes behind in free pages
)
_TRIES_TO_WRITE_AHEAD, _PAUSE_SECONDS = 50, 0.05
# What waits longer than a request may is given up. Options in the URL come later and win.
_POSTGRES_LIMITS = "-c lock_timeout=5s -c statement_timeout=15s -c idle_in_transaction_session_timeout=30s"
_CONNECT_SECONDS = "5"
_PREPARING = 7023641  # the advisory lock of whoever prepares a database; any number that nothing else takes
_USED_AT, _BELIEVED_SECONDS = "used_at", 1.0

__all__ = ["Blocked", "Collision", "Connection", "Database"]


class Collision(Outage):
    """The unit had to yield to another one. Nothing of it is kept, and it may be run again at once."""


class Blocked(Outage):
    """Another unit held a row for longer than one may wait. Nothing is kept; what needs other rows can go on."""


_KINDS: dict[str | None, type[Outage]] = {
    "40P01": Collision,  # deadlock
    "40001": Collision,  # what PostgreSQL could not put in an order
    "55P03": Blocked,
}


class Database:
    """One database, reached through a pool of connections.

    Args:
        url: SQLAlchemy URL, ``sqlite:///path`` or ``postgresql+psycopg://...``.
        pool: most connections at a time.
    """

    def __init__(self, url: str, pool: int = 8) -> None:
        options: dict[str, Any] = {"pool_size": pool, "max_overflow": 2, "pool_timeout": 5}
        # The one used last comes first: with SQLite it is the one whose cache of pages still holds.
        options["pool_use_lifo"] = True
        options["hide_parameters"] = True  # they may be content, and errors are logged
        options |= {
            "json_serializer": lambda value: orjson.dumps(value).decode(),
            "json_deserializer": orjson.loads,
        }
        self.is_sqlite = url.startswith("sqlite")
        self._writer = threading.Lock()
        if not self.is_sqlite:
            asked = sa.make_url(url).query
            options["connect_args"] = {
                "options": f"{_POSTGRES_LIMITS} {asked.get('options', '')}".strip(),
                "connect_timeout": asked.get("connect_timeout", _CONNECT_SECONDS),
            }
        self.engine: Engine = sa.create_engine(url, **options)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            self._silence = SilenceWatch(self.engine)
            event.listen(self.engine, "checkin", _note_use)
            event.listen(self.engine, "checkout", partial(_require_alive, self.engine.dialect))

    @contextmanager
    def unit(self) -> Iterator[Connection]:
        """Open a unit that may write; commits at its end, rolls back on any exception.

        Raises:
            Outage: the database is away, locked for too long, or full.
            Collision: the database gave another unit the way.
            Blocked: another unit held a row for too long.
        """
        with self._in_line(), self._transaction() as connection:
            yield connection

    @contextmanager
    def _in_line(self) -> Iterator[None]:
        """Wait for the other writers of this process, where there is one at a time.

        SQLite has them wait by sleeping, longer and longer, each with a connection that a reader could use.
        """
        if not self.is_sqlite:
            yield
            return
        if not self._writer.acquire(timeout=_WRITER_SECONDS):
            raise Outage("another unit writes for too long")
        try:
            yield
        finally:
            self._writer.release()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a unit that only reads, all of it at one moment; it waits for no writer.

        A keyset and its user must be seen as they were together, or the HSM would not vouch for the pair.
        """
        with self._transaction("REPEATABLE READ") as connection:
            yield connection

    @contextmanager
    def looking(self) -> Iterator[Connection]:
        """Open a connection for a single statement that reads: it sees one moment without a unit around it.

        On PostgreSQL that is one round trip instead of three.
        """
        with self._transaction("AUTOCOMMIT") as connection:
            yield connection

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """Open a unit in which this process alone prepares the database; it has no limit of time."""
        with self.unit() as connection:  # on SQLite this is the one that may write
            if not self.is_sqlite:
                self._silence.spare(connection)
                for limit in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
                    connection.execute(sa.text(f"SET LOCAL {limit} = 0"))
                connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_PREPARING})"))
            yield connection

    @contextmanager
    def _transaction(self, of_readers: str | None = None) -> Iterator[Connection]:
        try:
            with self.engine.connect() as connection:
                connection.execution_options(countersign_writes=of_readers is None)
                if of_readers and not self.is_sqlite:
                    connection.execution_options(isolation_level=of_readers)
                with connection.begin():
                    yield connection
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            if not losses.is_outage(error):
                raise
            kind = _KINDS.get(losses.sqlstate(error), Outage)
            raise kind(losses.reason(error)) from None

    def ping(self) -> None:
        """Raise Outage unless the database answers."""
        with self.reading() as connection:
            connection.execute(sa.text("SELECT 1"))

    def tidy(self) -> None:
        """Fold SQLite's write-ahead log into the file, so that cleared content is gone from it as well."""
        if not self.is_sqlite:
            return
        with self.engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close every connection of the pool."""
        self.engine.dispose()
        if not self.is_sqlite:
            self._silence.end()


def _note_use(_connection: object, record: Any) -> None:
    record.info[_USED_AT] = time.monotonic()


def _require_alive(dialect: Any, connection: Any, record: Any, _checked_out: object) -> None:
    """Ask a connection that nobody used for a while whether the server is there; if not, all are made anew.

    One used a moment ago is believed, unless the server said something since: it does when it ends a connection.
    Asking each time would be two of the sixteen round trips of a batch.
    """
    used_at = record.info.get(_USED_AT)
    if used_at is None:  # it is new
        return
    try:
        if time.monotonic() - used_at > _BELIEVED_SECONDS or _has_news(connection):
            dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise sa.exc.InvalidatePoolError from error


def _has_news(connection: Any) -> bool:
    lines = select.poll()
    lines.register(connection.fileno(), select.POLLIN)
    return bool(lines.poll(0))


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # this module says BEGIN itself, see _begin_sqlite
    for pragma in _SQLITE_PRAGMAS:
        connection.execute(pragma).fetchall()
    _write_ahead(connection)


def _write_ahead(connection: Any) -> None:
    """Have SQLite write ahead. Of several that ask this of a new file at once, some are refused without waiting."""
    for left in range(_TRIES_TO_WRITE_AHEAD - 1, -1, -1):
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchall()
        except sqlite3.OperationalError:
            if not left:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once: a unit never fails half-way because it could not upgrade its lock.
    writes = connection.get_execution_options().get("countersign_writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
