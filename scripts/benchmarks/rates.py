"""What do device and database give by themselves: raw operations per second, one thread, nothing around them."""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psycopg

from hsm.device import Device

_SECONDS = 0.5
_ROW = b"x" * 300  # about what one row of a confirmation holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Operations per second."""

    macs: float
    verifications: float
    signatures: float
    commits: float


def measure_rates(token_uri: str, database_url: str) -> Rates:
    """Measure both; the token needs the gateway's own keys."""
    device = Device.open(token_uri)
    try:
        private, public = device.house_pair("receipt")
        secret, digest = device.house_key("decoy"), sha256(_ROW).digest()
        signature = device.sign(private, digest)
        return Rates(
            macs=_per_second(lambda: device.mac(secret, _ROW)),
            verifications=_per_second(lambda: device.verify(public, digest, signature)),
            signatures=_per_second(lambda: device.sign(private, digest)),
            commits=_commits(database_url),
        )
    finally:
        device.close()


def _commits(database_url: str) -> float:
    """Insert one row and commit it durably, again and again, on a connection of the bare driver."""
    scheme, _, place = database_url.partition("://")
    if scheme == "sqlite":
        return _sqlite_commits(Path(place).with_name("commits.db"))
    with psycopg.connect(f"postgresql://{place}", autocommit=True) as connection:
        connection.execute("CREATE TABLE benchmark_commits (row BYTEA)")
        return _per_second(lambda: connection.execute("INSERT INTO benchmark_commits VALUES (%s)", [_ROW]))


def _sqlite_commits(file: Path) -> float:
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE commits (row BLOB)")
        return _per_second(lambda: connection.execute("INSERT INTO commits VALUES (?)", [_ROW]))
    finally:
        connection.close()


def _per_second(operation: Callable[[], object]) -> float:
    done, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < _SECONDS:
        operation()
        done += 1
    return done / elapsed
