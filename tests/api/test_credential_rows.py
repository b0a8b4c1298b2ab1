"""What does somebody gain who rewrites the rows of API keys: another bank's door, or a scope that was not given?"""

import json
import secrets
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from gateway.store.tables import credentials
from tests.counterparts.bank import BankRefused
from tests.journeys.stage import Json, Stage


def _write(stage: Stage, statement: sa.Update) -> None:
    with stage.database() as connection:
        assert connection.execute(statement).rowcount == 1


def _limited(stage: Stage) -> Json:
    made = stage.gateway.run("application", "add", f"limited {secrets.token_hex(4)}", "--json").stdout
    return dict(json.loads(made))


@pytest.fixture(scope="module")
def limited(stage: Stage) -> Json:
    """An application whose only credential has no more than the usual scopes."""
    return _limited(stage)


def _expect_unauthenticated(stage: Stage, api_key: str) -> None:
    with stage.gateway.bank(api_key) as bank, pytest.raises(BankRefused) as refused:
        bank.policy()
    assert (refused.value.status, refused.value.code) == (401, "unauthenticated")


def _altered(stage: Stage, api_key: str, **values: object) -> Callable[[], None]:
    """Change the credential; returns what puts it back."""
    name = "key_" + api_key.partition(".")[0].removeprefix("csk_")
    chosen = credentials.c.id == name
    with stage.database() as connection:
        before = dict(connection.execute(sa.select(credentials).where(chosen)).one()._mapping)
    _write(stage, sa.update(credentials).where(chosen).values(**values))
    return lambda: _write(stage, sa.update(credentials).where(chosen).values(**before))


def test_widened_scopes_make_the_credential_worthless(stage: Stage, limited: Json) -> None:
    with stage.gateway.bank(limited["api_key"]) as bank, pytest.raises(BankRefused) as refused:
        bank.unblock("anybody")
    assert (refused.value.status, refused.value.code) == (403, "scope_missing")
    put_back = _altered(stage, limited["api_key"], scopes=["user:unblock", "policy:read"])
    _expect_unauthenticated(stage, limited["api_key"])
    put_back()
    with stage.gateway.bank(limited["api_key"]) as bank:
        assert bank.policy()["version"] == 1


def test_a_credential_moved_to_another_application_is_worthless(stage: Stage, limited: Json) -> None:
    put_back = _altered(stage, limited["api_key"], application_id=stage.keys["application"])
    _expect_unauthenticated(stage, limited["api_key"])
    put_back()


def test_a_credential_row_copied_to_another_application_is_worthless(stage: Stage, limited: Json) -> None:
    name = "key_" + limited["api_key"].partition(".")[0].removeprefix("csk_")
    copy = secrets.token_hex(16)
    with stage.database() as connection:
        row = dict(connection.execute(sa.select(credentials).where(credentials.c.id == name)).one()._mapping)
        row |= {"id": f"key_{copy}", "application_id": stage.keys["application"]}
        connection.execute(sa.insert(credentials).values(**row))
    secret = limited["api_key"].partition(".")[2]
    _expect_unauthenticated(stage, f"csk_{copy}.{secret}")
