"""Is content cut into parts and read back at any offset, and is nothing of it left once it is cleared?"""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.transaction import TransactionStatus
from gateway.store import transactions
from gateway.store.database import Database
from gateway.store.transactions import PART_BYTES
from tests.store.databases import KINDS, migrated_database, url_of
from tests.store.rows import APPLICATION, NOW, insert_anna, insert_transaction

SIZE = 3 * PART_BYTES + 1234
CONTENT = secrets.token_bytes(SIZE)
EDGES = [edge + by for edge in (0, PART_BYTES, 2 * PART_BYTES, 3 * PART_BYTES, SIZE) for by in (-1, 0, 1)]
offsets = st.integers(0, SIZE + 2) | st.sampled_from([edge for edge in EDGES if edge >= 0])
lengths = st.integers(1, SIZE + 2) | st.sampled_from([1, 2, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1])


@pytest.fixture(scope="module", params=KINDS)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database with one transaction whose content has four parts."""
    with migrated_database(request.param, tmp_path_factory.mktemp("contents")) as database:
        with database.unit() as connection:
            insert_anna(connection)
            insert_transaction(connection, "txn_1", CONTENT)
        yield database


@given(offset=offsets, length=lengths)
def test_any_part_of_the_content_reads_as_it_was_written(filled: Database, offset: int, length: int):
    with filled.reading() as connection:
        found = transactions.read_content(connection, "txn_1", offset, length)
    assert found == CONTENT[offset : offset + length]


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES])
def test_content_of_every_size_around_a_part_comes_back_whole(database: Database, size: int):
    with database.unit() as connection:
        insert_anna(connection)
        insert_transaction(connection, "txn_1", CONTENT[:size])
    with database.reading() as connection:
        assert transactions.read_content(connection, "txn_1", 0, PART_BYTES * 3) == CONTENT[:size]


def test_the_contents_of_two_transactions_are_never_mixed(database: Database):
    with database.unit() as connection:
        insert_anna(connection)
        insert_transaction(connection, "txn_1", b"a" * (PART_BYTES + 5))
        insert_transaction(connection, "txn_2", b"b" * (PART_BYTES + 5))
    with database.reading() as connection:
        assert set(transactions.read_content(connection, "txn_1", 0, 2 * PART_BYTES)) == {ord("a")}
        assert set(transactions.read_content(connection, "txn_2", 0, 2 * PART_BYTES)) == {ord("b")}


def test_cleared_content_leaves_no_bytes_in_the_file_of_sqlite(sqlite: Database, tmp_path: Path):
    mark = b"IBAN DE89 3704 0044 0532 0130 00; " + secrets.token_hex(16).encode()
    with sqlite.unit() as connection:
        insert_anna(connection)
        insert_transaction(connection, "txn_1", mark * 20_000)
        insert_transaction(connection, "txn_2", mark)
    assert _holds(tmp_path, mark)
    for name in ("txn_1", "txn_2"):
        with sqlite.unit() as connection:
            assert transactions.settle_transaction(
                connection,
                name,
                status=TransactionStatus.CONFIRMED,
                reason=None,
                now=NOW,
                before_expiry=True,
            )
    sqlite.tidy()
    assert not _holds(tmp_path, mark)
    with sqlite.reading() as connection:
        kept = transactions.find_transaction(connection, APPLICATION, "txn_1")
    assert kept is not None
    assert kept.size == len(mark) * 20_000


def _holds(folder: Path, mark: bytes) -> bool:
    files = [path.read_bytes() for path in folder.iterdir() if path.is_file()]
    # Parts are cut and pages have headers, so any sixteen bytes of the mark count.
    return any(mark[start : start + 16] in data for data in files for start in range(0, len(mark) - 16, 8))


def test_tidying_up_is_harmless_while_others_read_and_write(sqlite: Database):
    with sqlite.unit() as connection:
        insert_anna(connection)
    with sqlite.reading() as reading:
        transactions.all_pending(reading, APPLICATION, "anna")
        with sqlite.unit() as connection:
            insert_transaction(connection, "txn_1")
    sqlite.tidy()
    assert url_of(sqlite).startswith("sqlite")
    with sqlite.reading() as reading:
        assert len(transactions.all_pending(reading, APPLICATION, "anna")) == 1
