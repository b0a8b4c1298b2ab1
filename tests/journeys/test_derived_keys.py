"""Over HTTP, on both databases: users whose keys are not on the token."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from gateway.store.tables import keysets
from tests.counterparts.bank import Bank, BankRefused
from tests.counterparts.phone import Phone
from tests.journeys.stage import Stage


@pytest.fixture
def bank(stage: Stage) -> Bank:
    """A bank whose policy is to derive."""
    return stage.bank_with(residency="derived")


def test_users_of_derived_keys_confirm_at_the_same_time_and_are_verified_afterwards(
    stage: Stage, bank: Bank
) -> None:
    phones = [stage.phone(bank=bank) for _ in range(6)]
    shown = [stage.ask(phone, bank=bank) for phone in phones]

    def confirm(number: int) -> str:
        return str(phones[number].approve(shown[number])["status"])

    with ThreadPoolExecutor(len(phones)) as threads:
        assert list(threads.map(confirm, range(len(phones)))) == ["confirmed"] * len(phones)
    for each in shown:
        answer = bank.transaction(each.transaction)["confirmation"]
        verdict = bank.verify(
            transaction=each.transaction,
            step=answer["step"],
            code=answer["code"],
            signature=answer["signature"],
        )
        assert verdict["valid"] is True


def test_a_replaced_phone_of_derived_keys_is_a_stranger_and_nothing_was_put_onto_the_token(
    stage: Stage, bank: Bank
) -> None:
    old = stage.phone(bank=bank)
    assert stage.phone(old.account.user, bank=bank).pending() == []
    assert old.request("transactions.pending", {}).status == 401
    with stage.database() as connection:
        rows = connection.execute(
            sa.select(keysets.c.khmac, keysets.c.kauth, keysets.c.kpublic).where(
                keysets.c.user_id == old.account.user
            )
        ).all()
    assert len(rows) == 2
    assert not [name for row in rows for name in row if name.startswith("pkcs11:")]


def test_a_policy_with_another_residency_is_refused(stage: Stage) -> None:
    with pytest.raises(BankRefused) as refused:
        stage.bank.put_policy({"policy": {"residency": "elsewhere"}})
    assert refused.value.problem["errors"][0]["pointer"] == "/policy/residency"


def test_a_phone_of_another_user_confirms_nothing_with_derived_keys(stage: Stage, bank: Bank) -> None:
    victim, mallory = stage.phone(bank=bank), stage.phone(bank=bank)
    shown = stage.ask(victim, bank=bank)
    both = Phone(victim.account, mallory.keys, clock=victim.clock)
    stage.open.callback(both.close)
    assert both.request("transactions.approve", victim.confirmation_body(shown, 1)).status == 401
    assert bank.transaction(shown.transaction)["status"] == "pending"
