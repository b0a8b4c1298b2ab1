"""Does a user with two phones go on when one of them is lost?"""

import pytest

from tests.counterparts.bank import Bank, BankRefused
from tests.counterparts.phone import Phone
from tests.counterparts.phone_line import NotRecognised, Refused
from tests.journeys.stage import Json, Stage


@pytest.fixture(scope="module")
def bank(stage: Stage) -> Bank:
    """A bank whose users may have two devices."""
    return stage.bank_with(devices_most=2)


@pytest.fixture(scope="module")
def phones(stage: Stage, bank: Bank) -> tuple[Phone, Phone]:
    """Two phones of one user."""
    user = stage.user(bank)
    return stage.phone(user, bank), stage.phone(user, bank)


def _device(bank: Bank, phone: Phone) -> Json:
    [found] = [each for each in bank.devices(phone.account.user) if each["keyset"] == phone.account.keyset]
    return found


def test_each_phone_is_shown_what_waits_and_the_first_answer_counts(
    stage: Stage, bank: Bank, phones: tuple[Phone, Phone]
) -> None:
    first, second = phones
    shown = stage.ask(first, bank=bank)
    assert [each["transaction"] for each in second.pending()] == [shown.transaction]
    assert second.decline(second.show(shown.transaction))["status"] == "declined"
    with pytest.raises(Refused) as refused:
        first.approve(shown)
    assert refused.value.code == "transaction_settled"
    told = bank.transaction(shown.transaction)["confirmation"]
    assert told["device_id"] == _device(bank, second)["id"]
    verdict = bank.verify(shown.transaction, operation="decline", step=told["step"], code=told["code"])
    assert (verdict["valid"], verdict["device"]) == (True, _device(bank, second)["id"])


def test_the_bank_is_told_when_the_places_are_taken_and_which(
    bank: Bank, phones: tuple[Phone, Phone]
) -> None:
    with pytest.raises(BankRefused) as refused:
        bank.issue_keyset(phones[0].account.user)
    assert (refused.value.status, refused.value.code) == (409, "devices_full")
    assert all(_device(bank, phone)["id"] in refused.value.problem["detail"] for phone in phones)


def test_a_lost_phone_is_removed_and_its_place_given_to_another(
    stage: Stage, bank: Bank, phones: tuple[Phone, Phone]
) -> None:
    user, lost = phones[0].account.user, _device(bank, phones[0])
    assert (lost["status"], lost["removed_at"]) == ("active", None)
    assert bank.remove_device(user, lost["id"])["status"] == "removed"
    assert bank.device(user, lost["id"])["status"] == "removed"
    with pytest.raises(NotRecognised):
        phones[0].pending()
    with pytest.raises(BankRefused) as refused:
        bank.issue_keyset(user, device=lost["id"])
    assert refused.value.code == "not_found"
    issued = bank.issue_keyset(user)
    assert bank.device(user, issued.keyset["device"]["id"])["status"] == "expected"
    third = stage.personalise(issued.qr_text)
    third.register()
    for phone in (phones[1], third):
        assert phone.approve(stage.ask(phone, bank=bank))["status"] == "confirmed"
    answers = bank.call("GET", f"/v1/users/{user}/answers")["answers"]
    assert [each["device_id"] for each in answers[-2:]] == [
        _device(bank, each)["id"] for each in (phones[1], third)
    ]
