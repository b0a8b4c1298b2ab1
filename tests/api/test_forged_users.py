"""Does a user come back to life, or to its rights, because somebody wrote so into the database?"""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from gateway.store.tables import keysets, users
from tests.counterparts.bank import Bank, BankRefused
from tests.journeys.stage import Stage

BROKEN = "keyset.binding_broken"


def _write(stage: Stage, statement: sa.Update) -> None:
    with stage.database() as connection:
        assert connection.execute(statement).rowcount == 1


def _set_status(stage: Stage, user: str, status: str) -> None:
    _write(
        stage, sa.update(users).where(users.c.user_id == user).values(status=status, failures=0, reason=None)
    )


def _expect_integrity_failure(stage: Stage, user: str, ask: Callable[[], object]) -> None:
    with pytest.raises(BankRefused) as refused:
        ask()
    assert (refused.value.status, refused.value.code) == (409, "integrity_failure")
    # The worker meets the broken row as well, in its own time: only the alarm of this request is counted.
    request = refused.value.headers["request-id"]
    assert [alarm["request"] for alarm in stage.events(user=user, type=BROKEN)].count(request) == 1


@pytest.mark.parametrize("ended_by", [Bank.block, Bank.delete_user])
def test_a_user_made_active_in_the_database_gets_no_keys(
    stage: Stage, ended_by: Callable[[Bank, str], object]
) -> None:
    user = stage.phone().account.user
    ended_by(stage.bank, user)
    _set_status(stage, user, "active")
    _expect_integrity_failure(stage, user, lambda: stage.bank.issue_keyset(user))
    assert len(stage.bank.keysets(user)) == 1


def test_a_deleted_user_made_blocked_in_the_database_is_not_unblocked(stage: Stage) -> None:
    user = stage.phone().account.user
    stage.bank.delete_user(user)
    _set_status(stage, user, "blocked")
    _expect_integrity_failure(stage, user, lambda: stage.bank.unblock(user))
    assert stage.bank.user(user)["status"] == "blocked"


def test_a_changed_row_of_ended_keys_keeps_the_user_from_new_ones_until_it_is_put_back(stage: Stage) -> None:
    old = stage.phone()
    user = old.account.user
    stage.phone(user)
    row = sa.update(keysets).where(keysets.c.id == old.account.keyset)
    _write(stage, row.values(flags=7))
    _expect_integrity_failure(stage, user, lambda: stage.bank.issue_keyset(user))
    assert [keyset["status"] for keyset in stage.bank.keysets(user)] == ["deleted", "active"]
    with stage.database() as connection:
        flags = sa.select(keysets.c.flags).where(
            keysets.c.user_id == user, keysets.c.id != old.account.keyset
        )
        right = connection.execute(flags).scalar_one()
    _write(stage, row.values(flags=right))
    assert stage.phone(user).pending() == []


@pytest.mark.parametrize("end", [Bank.block, Bank.delete_user])
def test_a_changed_row_does_not_protect_a_user_from_being_blocked_or_deleted(
    stage: Stage, end: Callable[[Bank, str], object]
) -> None:
    phone = stage.phone()
    _write(stage, sa.update(keysets).where(keysets.c.id == phone.account.keyset).values(flags=7))
    end(stage.bank, phone.account.user)
    assert stage.bank.user(phone.account.user)["status"] in ("blocked", "deleted")
    assert stage.events(user=phone.account.user, type=BROKEN)
