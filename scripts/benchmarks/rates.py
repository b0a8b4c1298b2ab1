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


@dataclass(frozen=True, slots=True)
class Rate:
    """Operations per second, and the milliseconds of CPU that each took in this process."""

    per_second: float
    cpu_ms: float


def measure_rates(token_uri: str, database_url: str, seconds: float = _SECONDS) -> dict[str, Rate]:
    """Measure MACs, verifications, signatures and durable commits; the token needs the gateway's own keys."""
    device = Device.open(token_uri)
    try:
        private, public = device.house_pair("receipt")
        secret, digest = device.house_key("decoy"), sha256(_ROW).digest()
        signature = device.sign(private, digest)
        return {
            "mac": rate_of(lambda: device.mac(secret, _ROW), seconds),
            "verify": rate_of(lambda: device.verify(public, digest, signature), seconds),
            "sign": rate_of(lambda: device.sign(private, digest), seconds),
            "commit": _commits(database_url, seconds),
        }
    finally:
        device.close()


def _commits(database_url: str, seconds: float) -> Rate:
    """Insert one row and commit it durably, again and again, on a connection of the bare driver."""
    scheme, _, place = database_url.partition("://")
    if scheme == "sqlite":
        return _sqlite_commits(Path(place).with_name("commits.db"), seconds)
    with psycopg.connect(f"postgresql://{place}", autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS benchmark_commits (row BYTEA)")
        insert = "INSERT INTO benchmark_commits VALUES (%s)"
        return rate_of(lambda: connection.execute(insert, [_ROW]), seconds)


def _sqlite_commits(file: Path, seconds: float) -> Rate:
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS commits (row BLOB)")
        return rate_of(lambda: connection.execute("INSERT INTO commits VALUES (?)", [_ROW]), seconds)
    finally:
        connection.close()


def rate_of(operation: Callable[[], object], seconds: float) -> Rate:
    """Do it again and again for so long."""
    done, started, spent = 0, time.perf_counter(), time.process_time()
    while (elapsed := time.perf_counter() - started) < seconds:
        operation()
        done += 1
    return Rate(done / elapsed, (time.process_time() - spent) / done * 1000)
