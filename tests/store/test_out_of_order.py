"""What does the store say of a database that is there and cannot be used: no database, or not for this role?"""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.refusals import Outage
from gateway.store.database import Database
from tests.store.databases import opened
from tests.store.rows import insert_transaction


def _told(work: Callable[[], None]) -> str:
    with pytest.raises(Outage) as outage:
        work()
    return str(outage.value)


def test_a_file_that_is_no_database_is_an_outage(tmp_path: Path):
    file = tmp_path / "countersign.db"
    file.write_text("not a database " * 100)
    with opened(f"sqlite:///{file}") as broken:
        assert "not a database" in _told(broken.ping)


def test_a_role_without_rights_is_an_outage_that_names_the_table(postgresql: Database):
    def write() -> None:
        with postgresql.unit() as connection:
            connection.execute(sa.text("SET LOCAL ROLE pg_monitor"))
            insert_transaction(connection, "txn_1", b"what is signed")

    assert "permission denied for table transactions" in _told(write)
