"""Can the gateway work as a role that owns nothing in PostgreSQL, and is the event log then closed to it?"""

import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway import assembly
from gateway.refusals import Outage
from gateway.rules.user import UserAction
from gateway.scenarios import deliveries, housekeeping, operating, policies, rotation
from gateway.store import losses, migrate
from gateway.store.database import Database
from hsm.device import Device
from tests.scenarios.bench import ORIGIN, opened_bench, run
from tests.store.asked import QUESTIONS
from tests.store.crowded import fill
from tests.store.databases import migrated_database, opened

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "operating.md"
TAMPERING = [
    "UPDATE events SET result = 'forged'",
    "DELETE FROM events",
    "TRUNCATE events",
    "ALTER TABLE events DISABLE TRIGGER ALL",
    "DROP TRIGGER events_change_refused ON events",
    "CREATE OR REPLACE FUNCTION refuse_event_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "SET session_replication_role = replica",
    "UPDATE attempts SET outcome = 'accepted'",
    "DELETE FROM transactions",
]


def _grants(role: str) -> list[str]:
    """The statements of the guide, for this role."""
    [block] = re.findall(r"```sql\n(GRANT .*?)```", GUIDE.read_text(), re.DOTALL)
    return [re.sub(r" countersign$", f" {role}", each) for each in block.strip().rstrip(";").split(";\n")]


@pytest.fixture
def as_owner(tmp_path: Path) -> Iterator[Database]:
    """An empty database as its owner sees it."""
    with migrated_database("postgresql", tmp_path) as database:
        yield database


@pytest.fixture
def as_role(as_owner: Database) -> Iterator[Database]:
    """The same, as a role that has what the guide gives it."""
    role = f"role_{secrets.token_hex(6)}"
    with as_owner.unit() as connection:
        for statement in (f"CREATE ROLE {role} LOGIN", *_grants(role)):
            connection.exec_driver_sql(statement)
    url = as_owner.engine.url.set(username=role)
    with opened(url.render_as_string(hide_password=False), pool=8) as database:
        yield database
    with as_owner.unit() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {role}")
        connection.exec_driver_sql(f"DROP ROLE {role}")


def test_the_role_prepares_serves_and_keeps_house(as_role: Database, own_device: Device) -> None:
    migrate.upgrade(as_role)
    assembly.prepare(as_role, own_device)
    with opened_bench(as_role, own_device) as bench:
        ctx, asker = bench.ctx, bench.asker
        phone = run(bench.enrol("anna"))
        shown = run(bench.show(phone, run(bench.ask_to_confirm("anna"))))
        assert run(bench.approve(phone, shown))["status"] == "confirmed"
        run(policies.put_policy(ctx, asker, {"digits": 6}, ORIGIN))
        run(deliveries.rotate_webhook_secret(ctx, bench.present(), ORIGIN))
        run(operating.set_callback(ctx, asker.application.id, "https://bank.example/"))
        run(bench.change("anna", UserAction.DELETE))
        for duty in (housekeeping.expire_transactions, housekeeping.lapse_keysets, housekeeping.sweep_keys):
            run(duty(ctx))
        run(rotation.rotate_master(ctx))


def test_the_role_may_ask_whatever_the_gateway_asks(as_owner: Database, as_role: Database) -> None:
    fill(as_owner, users=400, settled=800, pending=200)
    forbidden = []
    for name, question in QUESTIONS.items():
        with as_role.engine.connect() as connection, connection.begin() as unit:
            try:
                question(connection)
            except sa.exc.ProgrammingError as error:
                forbidden.append((name, losses.reason(error)))
            unit.rollback()
    assert forbidden == []


@pytest.mark.parametrize("statement", TAMPERING)
def test_the_role_cannot_change_what_was_written(as_role: Database, statement: str) -> None:
    with pytest.raises(Outage, match="42501"), as_role.unit() as connection:
        connection.exec_driver_sql(statement)
