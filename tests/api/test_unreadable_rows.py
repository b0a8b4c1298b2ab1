"""Is a row of keys that says what no gateway writes treated as what it is: one the HSM did not vouch for?"""

import pytest
import sqlalchemy as sa

from gateway.store.tables import keysets, users
from tests.counterparts.bank import BankRefused
from tests.journeys.stage import Json, Stage

BROKEN = "keyset.binding_broken"
ODD: dict[str, Json] = {
    "digits": {"digits": 300},
    "digits below zero": {"digits": -1},
    "flags": {"flags": 1 << 20},
    "step": {"step_seconds": -180},
    "status": {"status": "revived"},
    "status in other letters": {"status": "ACTIVE"},
    "delivery": {"delivery": "pigeon"},
    "another delivery": {"delivery": "qr_and_code"},
}


def _write(stage: Stage, statement: sa.Update) -> None:
    with stage.database() as connection:
        assert connection.execute(statement).rowcount == 1


@pytest.mark.parametrize("values", ODD.values(), ids=ODD)
def test_an_odd_value_is_answered_like_any_failed_authentication_and_raises_the_alarm(
    stage: Stage, values: Json
) -> None:
    phone = stage.phone()
    user = phone.account.user
    row = sa.update(keysets).where(keysets.c.id == phone.account.keyset)
    with stage.database() as connection:
        columns = [keysets.c[name] for name in values]
        found = connection.execute(sa.select(*columns).where(keysets.c.id == phone.account.keyset)).one()
    _write(stage, row.values(**values))
    answer = phone.request("transactions.pending", {})
    assert (answer.status, answer.json()["code"]) == (401, "authentication_failed")
    assert sorted(line["type"] for line in stage.recorded(answer)) == ["client.authentication_failed", BROKEN]
    with pytest.raises(BankRefused, match="integrity_failure"):
        stage.bank.issue_keyset(user)
    assert stage.bank.user(user)["keysets"][0]["id"] == phone.account.keyset
    stage.bank.block(user)
    assert stage.bank.user(user)["status"] == "blocked"
    _write(stage, row.values(**found._mapping))
    assert phone.request("transactions.pending", {}).status == 401


def test_a_user_in_a_state_that_does_not_exist_is_nobody(stage: Stage) -> None:
    phone = stage.phone()
    user = phone.account.user
    row = sa.update(users).where(users.c.user_id == user)
    _write(stage, row.values(status="superuser"))
    answer = phone.request("transactions.pending", {})
    assert (answer.status, answer.json()["code"]) == (401, "authentication_failed")
    assert BROKEN in [line["type"] for line in stage.recorded(answer)]
    with pytest.raises(BankRefused, match="user_deleted"):
        stage.bank.issue_keyset(user)
    _write(stage, row.values(status="active"))
    assert phone.pending() == []
