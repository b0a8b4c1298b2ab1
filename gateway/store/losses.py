"""What went wrong when the database failed: is it away, and what may be told of the reason?

The text is for operators, in logs and on the command line. It must never hold a statement or its values, for they
may be content. So only what a server, a driver or SQLite says of itself is passed on.
"""

import sqlalchemy as sa

_READ_ONLY, _IDLE, _FORBIDDEN = "25006", "25P03", "42501"
_AWAY = (
    _READ_ONLY,  # a standby: a failover is under way
    _IDLE,  # it ended a unit in which nothing was asked for too long
    _FORBIDDEN,  # the role lacks a right: set up or restored without it
)
_FILES = ("SQLITE_NOTADB", "SQLITE_CORRUPT")  # the file is not, or no longer, a database
_ABOUT_A_STATEMENT = "SQLITE_ERROR"
_MOST_CHARACTERS = 300


def is_outage(error: Exception) -> bool:
    """Say whether the database is away or out of order, and not our statement wrong."""
    away = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)
    return isinstance(error, away) or sqlstate(error) in _AWAY or _sqlite_name(error) in _FILES


def sqlstate(error: Exception) -> str | None:
    """Return the code that a PostgreSQL server gave the error."""
    return getattr(error.__cause__, "sqlstate", None)


def reason(error: Exception) -> str:
    """Return in one line why the database failed, without the statement and its values."""
    if isinstance(error, sa.exc.TimeoutError):
        return "database: every connection of this process is in use (COUNTERSIGN_DATABASE_CONNECTIONS)"
    cause = error.__cause__
    kind = type(cause or error).__name__
    said = " ".join(_said(cause).split())[:_MOST_CHARACTERS]
    return f"database: {kind}: {said}" if said else f"database: {kind}"


def _said(cause: BaseException | None) -> str:
    if cause is None:
        return ""
    name = _sqlite_name(cause)
    if name is not None:
        return "" if name == _ABOUT_A_STATEMENT else str(cause)
    state = getattr(cause, "sqlstate", None)
    if state is None:  # from the driver: the connection, its server and its user, never a password
        return str(cause)
    primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    return f"{primary or ''} ({state})"


def _sqlite_name(error: BaseException) -> str | None:
    """Return SQLite's name of an error, without what it says more exactly."""
    found = getattr(error, "sqlite_errorname", None) or getattr(error.__cause__, "sqlite_errorname", None)
    return None if found is None else "_".join(str(found).split("_")[:2])
