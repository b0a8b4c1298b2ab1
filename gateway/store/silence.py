"""What if a PostgreSQL server keeps its connections and says nothing: its machine is gone, or its disk hangs?

Its own limits end no statement then, and a driver waits for ever, or for the quarter of an hour that TCP takes to give
up. So a thread of ours looks at the connections in use, and breaks those on which a statement has not been answered
for longer than the server would have let it run. Whoever waits there then hears what he hears of a lost connection.
"""

import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

_log = structlog.get_logger("gateway")
_MORE_SECONDS = 5.0  # for the way there and back
_LOOK_SECONDS = 0.5
_OWN_LIMIT = "SELECT extract(epoch FROM current_setting('statement_timeout')::interval)::float8"
_USUAL_SECONDS = 20.0  # until the server has said what its limit is
_SLOW_SECONDS, _BELIEVED_AWAY_SECONDS = 1.0, 2.0
_LINE, _LIMIT, _ASKED_AT, _SPARED = "line", "silence_most", "asked_at", "may_be_silent"


class SilenceWatch:
    """Looks at the connections of one engine that are in use.

    Args:
        engine: of PostgreSQL. The limit is what a connection says of ``statement_timeout`` and a little more;
            without one there is none.
    """

    def __init__(self, engine: Engine) -> None:
        self._in_use: dict[int, dict[str, Any]] = {}  # what is known of a connection, by itself
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._away_until = 0.0
        event.listen(engine, "do_connect", self._connect)
        event.listen(engine, "connect", self._connected)
        event.listen(engine, "close", self._closed)
        event.listen(engine, "checkout", self._taken)
        event.listen(engine, "checkin", self._given_back)
        event.listen(engine, "before_cursor_execute", _note_question)

    def end(self) -> None:
        """Look no longer."""
        self._ended.set()

    @staticmethod
    def spare(connection: Connection) -> None:
        """Set no limit for the unit of this connection: it may take its time."""
        connection.info[_SPARED] = True

    def _connect(self, dialect: Any, _record: object, words: Any, names: Any) -> Any:
        """Connect; where that was tried in vain for a while a moment ago, fail at once: others wait for their turn."""
        began = time.monotonic()
        away = dialect.loaded_dbapi.OperationalError
        if began < self._away_until:
            raise away("the server did not answer a moment ago")
        try:
            return dialect.connect(*words, **names)
        except away:
            ended = time.monotonic()
            if ended - began > _SLOW_SECONDS:
                self._away_until = ended + _BELIEVED_AWAY_SECONDS
            raise

    def _connected(self, connection: Any, record: Any) -> None:
        # A name of its own for the same socket: it cannot come to mean another one.
        record.info[_LINE] = socket.socket(fileno=os.dup(connection.fileno()))
        record.info[_LIMIT] = _USUAL_SECONDS
        self._taken(connection, record, None)
        with connection.cursor() as cursor:
            own = cursor.execute(_OWN_LIMIT).fetchone()[0]
        connection.rollback()
        record.info[_LIMIT] = min(own, _MORE_SECONDS) + own if own else None

    def _closed(self, _connection: object, record: Any) -> None:
        with self._lock:
            self._in_use.pop(id(record), None)
            line = record.info.pop(_LINE, None)
        if line is not None:
            line.close()

    def _taken(self, _connection: object, record: Any, _proxy: object) -> None:
        record.info.update({_ASKED_AT: time.monotonic(), _SPARED: False})
        with self._lock:
            self._in_use[id(record)] = record.info
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="silence", daemon=True)
                self._thread.start()

    def _given_back(self, _connection: object, record: Any) -> None:
        with self._lock:
            self._in_use.pop(id(record), None)

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            now = time.monotonic()
            with self._lock:
                silent = [known for known in self._in_use.values() if _is_silent(known, now)]
                for known in silent:
                    known[_SPARED] = True
                    with suppress(OSError):  # it is closed already
                        known[_LINE].shutdown(socket.SHUT_RDWR)
            if silent:
                _log.error("the database does not answer: connections are given up", connections=len(silent))


def _is_silent(known: dict[str, Any], now: float) -> bool:
    most = None if known[_SPARED] else known[_LIMIT]
    return most is not None and now - known[_ASKED_AT] > most


def _note_question(connection: sa.Connection, *_: object) -> None:
    connection.info[_ASKED_AT] = time.monotonic()
