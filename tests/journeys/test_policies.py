"""Can a bank tell what a user's keys were made under, and decide the rules of a user's phone?"""

import pytest

from tests.counterparts.bank import Bank, BankRefused
from tests.counterparts.phone_line import Refused
from tests.journeys.stage import Stage


@pytest.fixture
def bank(stage: Stage) -> Bank:
    """The bank of most tests; each leaves its policy as it was."""
    return stage.bank


def test_what_a_transaction_names_can_be_read(stage: Stage, bank: Bank) -> None:
    shown, before = stage.ask(stage.phone()), bank.policy()["policy"]
    bank.put_policy({"policy": {**before, "digits": 6}})
    bank.put_policy({"policy": before})
    named = bank.transaction(shown.transaction)["policy_version"]
    assert bank.policy_version(named)["policy"]["digits"] == 8
    [second] = bank.policy_versions(after=named, limit=1)["versions"]
    assert (second["version"], second["policy"]["digits"]) == (named + 1, 6)
    assert bank.policy()["version"] == named + 2
    for wrong in (0, named + 3, -1, 10**12):
        with pytest.raises(BankRefused) as refused:
            bank.policy_version(wrong)
        assert refused.value.code == "not_found"


def test_the_rules_of_one_user_are_told_to_its_phone_and_held_to(stage: Stage, bank: Bank) -> None:
    user = stage.user()
    decided = {"password_length": 9, "renewal_allowed": False}
    assert bank.put_settings(user, **decided)["settings"] == decided
    phone = stage.phone(user)
    assert phone.account.policy.password_length == 9
    with pytest.raises(Refused) as refused:
        phone.renew()
    assert refused.value.code == "not_allowed_by_policy"
    [event] = bank.events(user=user, type="user.settings_changed")["events"]
    assert event["detail"] == {"settings": decided, "before": {}}
    with pytest.raises(BankRefused) as wrong:
        bank.put_settings(user, failures_most=1)
    assert [each["pointer"] for each in wrong.value.problem["errors"]] == ["/settings/failures_most"]
