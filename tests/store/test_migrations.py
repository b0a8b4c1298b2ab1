"""Does every way to the schema end at the same tables, and is any other schema refused?"""

import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from gateway.store import migrate, schema
from gateway.store.database import Database
from gateway.store.schema import SchemaBehind
from gateway.store.tables import metadata
from tests.gateways import ROOT
from tests.store.databases import opened
from tests.store.racing import in_processes

OPEN = """
from gateway.store import migrate, schema
from gateway.store.database import Database
database = Database(sys.argv[1])
"""
MIGRATE = """
migrate.upgrade(database)
print(schema.current(database))
"""


def _differences(database: Database) -> list[object]:
    with database.reading() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        return list(compare_metadata(context, metadata))


def test_the_migrated_database_has_exactly_the_tables_of_the_code(database: Database):
    assert _differences(database) == []


def test_the_comparison_would_notice_a_missing_index_and_a_missing_column(database: Database):
    with database.unit() as connection:
        connection.execute(sa.text("DROP INDEX ix_loose_keys_doomed_at_planned_at"))
        connection.execute(sa.text("ALTER TABLE attempts DROP COLUMN receipt"))
    assert {difference[0] for difference in _differences(database)} == {"add_index", "add_column"}  # type: ignore[index]


def test_the_foreign_keys_are_the_same_as_in_the_code(database: Database):
    with database.reading() as connection:
        found = sa.inspect(connection)
        for table in metadata.sorted_tables:
            made = {
                (tuple(key["constrained_columns"]), key["referred_table"])
                for key in found.get_foreign_keys(table.name)
            }
            wanted = {
                (tuple(column.name for column in key.columns), key.referred_table.name)
                for key in table.foreign_key_constraints
            }
            assert made == wanted, table.name


def test_migrating_again_changes_nothing(database: Database):
    migrate.upgrade(database)
    schema.require_current(database)
    assert schema.current(database) == schema.HEAD
    assert _differences(database) == []


def test_three_processes_may_migrate_an_empty_database_at_the_same_moment(empty_url: str):
    assert in_processes(3, OPEN, MIGRATE, empty_url) == [f"{schema.HEAD}\n"] * 3


def test_an_empty_database_is_refused_and_the_text_says_how_to_mend_it(empty_url: str):
    with opened(empty_url) as database:
        assert schema.current(database) is None
        with pytest.raises(SchemaBehind, match="countersign init"):
            schema.require_current(database)


def test_a_schema_this_code_does_not_know_is_refused(database: Database):
    with database.unit() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaBehind, match="9999"):
        schema.require_current(database)


def test_the_newest_migration_is_the_schema_that_is_asked_for():
    assert ScriptDirectory.from_config(migrate._config()).get_current_head() == schema.HEAD


def test_a_command_starts_without_loading_what_migrates_serves_or_posts():
    named = "{'alembic', 'hypercorn', 'httpx2', 'gateway.api'}"
    program = f"import sys, gateway.__main__; print({named} & set(sys.modules))"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "set()\n"
