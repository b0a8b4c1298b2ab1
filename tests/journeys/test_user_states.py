"""Does each state of a user have the consequences that the specification names?"""

import pytest

from tests.counterparts.bank import Bank, BankRefused
from tests.counterparts.phone import Phone
from tests.counterparts.phone_line import NotRecognised
from tests.journeys.stage import Json, Stage


def _refusal_of(bank: Bank, user: str) -> list[str]:
    """Why the bank may neither create a transaction nor issue keys."""
    codes = []
    for call in (lambda: bank.create_transaction(user, text="Pay"), lambda: bank.issue_keyset(user)):
        with pytest.raises(BankRefused) as refused:
            call()
        codes.append(refused.value.code)
    return codes


def _confirmed(stage: Stage, phone: Phone) -> Json:
    shown = stage.ask(phone)
    phone.approve(shown)
    return stage.bank.transaction(shown.transaction)


def _verdict(stage: Stage, transaction: Json) -> Json:
    signed = transaction["confirmation"]
    proofs = {name: signed[name] for name in ("step", "code", "signature")}
    return stage.bank.verify(transaction["id"], **proofs)


def test_a_blocked_users_phone_is_not_recognised_whatever_it_asks(stage: Stage) -> None:
    phone = stage.phone()
    shown = stage.ask(phone)
    stage.bank.block(phone.account.user, "reported lost")
    calls = (
        phone.pending,
        lambda: phone.get(shown.transaction),
        lambda: phone.part(shown.transaction, 0, 5),
        lambda: phone.approve(shown),
        lambda: phone.decline(shown),
        lambda: phone.update_push("none", "x"),
    )
    for call in calls:
        with pytest.raises(NotRecognised):
            call()
    reasons = {
        event["reason"]
        for event in stage.events(user=phone.account.user, type="client.authentication_failed")
    }
    assert reasons == {"user_blocked"}


def test_a_blocked_user_gets_no_transactions_and_no_keys(stage: Stage) -> None:
    user = stage.phone().account.user
    assert stage.bank.block(user, "reported lost")["reason"] == "reported lost"
    assert _refusal_of(stage.bank, user) == ["user_blocked", "user_blocked"]


def test_a_blocked_user_cannot_register_or_get_an_activation_code(stage: Stage) -> None:
    user = stage.user()
    issued = stage.bank.issue_keyset(user, "qr")
    phone = stage.personalise(issued.qr_text)
    stage.bank.block(user)
    with pytest.raises(NotRecognised):
        phone.register()
    other = stage.user()
    waiting = stage.bank.issue_keyset(other, "qr_and_code")
    stage.bank.block(other)
    with pytest.raises(BankRefused) as refused:
        stage.bank.activation_code(other, waiting.id)
    assert refused.value.code == "user_blocked"


def test_an_unblocked_user_goes_on_where_it_stopped(stage: Stage) -> None:
    phone = stage.phone()
    shown = stage.ask(phone)
    stage.bank.block(phone.account.user)
    assert stage.bank.transaction(shown.transaction)["status"] == "pending"
    view = stage.bank.unblock(phone.account.user)
    assert (view["status"], view["reason"]) == ("active", None)
    assert phone.approve(shown)["status"] == "confirmed"


def test_a_blocked_users_old_signatures_still_verify(stage: Stage) -> None:
    phone = stage.phone()
    transaction = _confirmed(stage, phone)
    stage.bank.block(phone.account.user)
    verdict = _verdict(stage, transaction)
    assert verdict["valid"]
    assert verdict["user_status"] == "blocked"


def test_a_deleted_user_only_verifies_old_signatures(stage: Stage) -> None:
    phone = stage.phone()
    user = phone.account.user
    transaction = _confirmed(stage, phone)
    waiting = stage.ask(phone)
    assert stage.bank.delete_user(user)["status"] == "deleted"
    assert [keyset["status"] for keyset in stage.bank.keysets(user)] == ["deleted"]
    with pytest.raises(NotRecognised):
        phone.pending()
    cancelled = stage.bank.transaction(waiting.transaction)
    assert (cancelled["status"], cancelled["reason"]) == ("cancelled", "user_deleted")
    assert _refusal_of(stage.bank, user) == ["user_deleted", "user_deleted"]
    verdict = _verdict(stage, transaction)
    assert verdict["valid"]
    assert (verdict["user_status"], verdict["keyset_status_now"]) == ("deleted", "deleted")


def test_the_id_of_a_deleted_user_is_never_used_again(stage: Stage) -> None:
    user = stage.user()
    stage.bank.delete_user(user)
    for call in (stage.bank.create_user, stage.bank.block, stage.bank.unblock):
        with pytest.raises(BankRefused) as refused:
            call(user)
        assert refused.value.code == "user_deleted"
    assert stage.bank.delete_user(user)["status"] == "deleted"  # again is no harm
    assert stage.bank.user(user)["status"] == "deleted"


def test_a_blocked_user_can_be_deleted(stage: Stage) -> None:
    phone = stage.phone()
    stage.bank.block(phone.account.user)
    assert stage.bank.delete_user(phone.account.user)["status"] == "deleted"


def test_every_change_of_a_user_is_an_event_and_a_callback(stage: Stage) -> None:
    user = stage.user()
    stage.bank.block(user, "suspicion")
    stage.bank.unblock(user)
    stage.bank.delete_user(user)
    types = [event["type"] for event in stage.events(user=user)]
    assert types == ["user.created", "user.blocked", "user.unblocked", "user.deleted"]
    told = stage.told(lambda body: body["data"].get("user") == user, count=3)
    assert {(each["type"], each["data"]["status"]) for each in told} == {
        ("user.blocked", "blocked"),
        ("user.unblocked", "active"),
        ("user.deleted", "deleted"),
    }


def test_a_user_is_created_once(stage: Stage) -> None:
    user = stage.user()
    assert stage.bank.request("PUT", f"/v1/users/{user}", json={}).status_code == 200
    assert len(stage.events(user=user, type="user.created")) == 1


def test_two_banks_may_use_the_same_user_id_for_two_people(stage: Stage) -> None:
    user = stage.user()
    stage.foreign.create_user(user)
    stage.foreign.block(user)
    assert stage.bank.user(user)["status"] == "active"
