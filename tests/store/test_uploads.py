"""Does content that was handed in by itself become that of one transaction, without being written again, or go?"""

import hashlib
import secrets
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.store import transactions, uploads
from gateway.store.database import Database
from gateway.store.tables import contents
from gateway.store.transactions import PART_BYTES
from gateway.store.uploads import Upload
from tests.store.racing import in_threads
from tests.store.rows import APPLICATION, NOW, insert_anna, transaction

PARTS = 8
CONTENT = secrets.token_bytes(PARTS * PART_BYTES)
# Both ids have 36 characters: SQLite then writes over the ids alone, where it would else write every part again.
NAME, TRANSACTION = f"cnt_{'0' * 32}", f"txn_{'0' * 32}"


def _upload(name: str = NAME, content: bytes = CONTENT, **changed: object) -> Upload:
    values = {
        "id": name,
        "application_id": APPLICATION,
        "media_type": "application/pdf",
        "size": len(content),
        "content_sha256": hashlib.sha256(content).digest(),
        "created_at": NOW,
        "expires_at": NOW + timedelta(hours=1),
    }
    return Upload(**values | changed)  # type: ignore[arg-type]


def _hand_in(database: Database, upload: Upload, parts: int = PARTS) -> None:
    with database.unit() as connection:
        uploads.insert_upload(connection, _upload(upload.id, content_sha256=None))
        for part in range(parts):
            data = CONTENT[part * PART_BYTES : (part + 1) * PART_BYTES]
            assert uploads.insert_part(connection, upload.id, part, data)
        assert uploads.complete_upload(connection, upload)


def _parts(database: Database, name: str) -> int:
    with database.reading() as connection:
        counted = sa.select(sa.func.count()).where(contents.c.transaction_id == name)
        return int(connection.execute(counted).scalar_one())


@pytest.fixture
def filled(database: Database) -> Database:
    """A database with one upload that is complete."""
    with database.unit() as connection:
        insert_anna(connection)
    _hand_in(database, _upload())
    return database


def _use(database: Database, name: str) -> bool:
    with database.unit() as connection:
        transactions.insert_transactions(connection, [(transaction(name, CONTENT), b"")])
        used = uploads.use_upload(connection, _upload(), name)
        if not used:
            connection.rollback()
        return used


def test_the_parts_become_those_of_the_transaction(filled: Database):
    assert _use(filled, TRANSACTION)
    with filled.reading() as connection:
        assert transactions.read_content(connection, TRANSACTION, 0, len(CONTENT)) == CONTENT
        assert uploads.find_upload(connection, APPLICATION, NAME, NOW) is None
    assert _parts(filled, NAME) == 0


def test_of_two_transactions_one_gets_the_content(filled: Database):
    names = [f"txn_{letter * 32}" for letter in "ab"]
    assert sorted(in_threads(2, lambda each: _use(filled, names[each]))) == [False, True]
    assert sorted(_parts(filled, name) for name in names) == [0, PARTS]


def _written(database: Database, folder: Path) -> int:
    """How many bytes were written so far: ahead in SQLite's file, to the table of parts in PostgreSQL.

    Whatever PostgreSQL writes is a new version of a row, and what it writes ahead is that of all databases of the run.
    """
    if database.is_sqlite:
        return sum(path.stat().st_size for path in folder.iterdir() if path.name.endswith("-wal"))
    with database.reading() as connection:
        return int(connection.exec_driver_sql("SELECT pg_total_relation_size('contents')").scalar_one())


def test_the_bytes_are_not_written_again(filled: Database, tmp_path: Path):
    filled.tidy()
    before = _written(filled, tmp_path)
    assert _use(filled, TRANSACTION)
    written = _written(filled, tmp_path)
    assert written > (0 if filled.is_sqlite else len(CONTENT))
    assert written - before < len(CONTENT) / 4


def test_only_its_application_finds_it_and_only_in_its_time(filled: Database):
    late = NOW + timedelta(hours=1)
    with filled.reading() as connection:
        assert uploads.find_upload(connection, APPLICATION, NAME, NOW) == _upload()
        assert uploads.find_upload(connection, "app_2", NAME, NOW) is None
        assert uploads.find_upload(connection, APPLICATION, NAME, late) is None
        assert uploads.expired_uploads(connection, late, 10) == [NAME]


def test_what_is_not_complete_is_not_found(filled: Database):
    with filled.unit() as connection:
        uploads.insert_upload(connection, _upload("cnt_2", content_sha256=None))
        assert uploads.find_upload(connection, APPLICATION, "cnt_2", NOW) is None
        assert uploads.lock_waiting(connection, APPLICATION) == (2, 2 * len(CONTENT))
        assert uploads.lock_waiting(connection, "app_2") == (0, 0)


def test_nothing_is_added_to_what_is_complete_or_gone(filled: Database):
    with filled.unit() as connection:
        assert not uploads.insert_part(connection, NAME, PARTS, b"more")
        assert not uploads.complete_upload(connection, _upload(content=b"other"))
        uploads.drop_upload(connection, NAME)
        assert not uploads.insert_part(connection, NAME, PARTS, b"more")
        assert not uploads.complete_upload(connection, _upload())
    assert _parts(filled, NAME) == 0


def test_what_a_transaction_uses_is_not_dropped(filled: Database):
    assert _use(filled, TRANSACTION)
    with filled.unit() as connection:
        uploads.drop_upload(connection, NAME)
    assert _parts(filled, TRANSACTION) == PARTS
