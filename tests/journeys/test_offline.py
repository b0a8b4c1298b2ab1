"""Does a phone without a network approve: a QR code there, digits back, and guessing comes to an end?"""

import json
import threading
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from typing import Any

import pytest

from tests.counterparts.bank import Bank, BankRefused
from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Shown
from tests.counterparts.phone_offline import OfflineTransaction
from tests.journeys.stage import Json, Stage


@pytest.fixture(scope="module")
def keys(stage: Stage) -> Json:
    """The credentials of a bank that takes short codes."""
    made = stage.gateway.add_application(callback=stage.receiver.url, policy={"offline_allowed": True})
    stage.receiver.trust(made["webhook_secret"])
    return made


@pytest.fixture(scope="module")
def bank(stage: Stage, keys: Json) -> Iterator[Bank]:
    """That bank."""
    with stage.gateway.bank(keys["api_key"]) as opened:
        yield opened


@pytest.fixture
def phone(stage: Stage, bank: Bank) -> Phone:
    """A registered phone of a new user."""
    return stage.phone(bank=bank)


def _ask(bank: Bank, phone: Phone, text: str = "Pay 10 EUR to Bob", **more: Any) -> dict[str, Any]:
    more.setdefault("confirmation", {"offline": True})
    return bank.create_transaction(phone.account.user, text=text, title="Payment", **more)


def _read(bank: Bank, transaction: str) -> OfflineTransaction:
    return OfflineTransaction.from_qr(bank.transaction_qr(transaction)["qr"]["text"])


def _wrong(code: str) -> str:
    return str((int(code) + 1) % 10 ** len(code)).zfill(len(code))


def _refusal(bank: Bank, transaction: str, code: str) -> tuple[int, str]:
    with pytest.raises(BankRefused) as refused:
        bank.submit_code(transaction, code)
    return refused.value.status, refused.value.code


def test_a_phone_without_a_network_approves_what_it_read_from_a_picture(
    stage: Stage, bank: Bank, phone: Phone
) -> None:
    made = _ask(bank, phone, "Überweisung 10 EUR")
    shown = phone.shown_offline(_read(bank, made["id"]))
    assert shown.content == "Überweisung 10 EUR".encode()
    code = phone.short_code(shown)
    settled = bank.submit_code(made["id"], code)
    assert (settled["status"], settled["confirmation"]["channel"]) == ("confirmed", "offline")
    assert settled["confirmation"]["code"] == code
    assert settled["confirmation"]["verified"] == ["step", "code"]
    assert settled["confirmation"]["signature"] is None
    _, payload = settled["receipt"].split(".")[:2]
    assert json.loads(urlsafe_b64decode(payload + "=="))["code"] == code
    (told,) = stage.told(lambda body: body["data"].get("transaction", {}).get("id") == made["id"])
    assert told["data"]["confirmation"] == settled["confirmation"]
    assert told["data"]["receipt"] == settled["receipt"]
    assert _refusal(bank, made["id"], code) == (409, "transaction_settled")


@pytest.mark.parametrize("digits", [6, 7, 8, 9, 10])
def test_codes_have_as_many_digits_as_the_transaction_says(stage: Stage, digits: int) -> None:
    bank = stage.bank_with(offline_allowed=True, digits=6)
    phone = stage.phone(bank=bank)
    made = _ask(bank, phone, confirmation={"offline": True, "digits": digits})
    code = phone.short_code(phone.show(made["id"]))
    assert len(code) == digits
    for malformed in (code[:-1], code + "0", "x" * digits, "٣" * digits, ""):
        assert _refusal(bank, made["id"], malformed) == (400, "malformed_request")
    assert bank.submit_code(made["id"], code)["status"] == "confirmed"


def test_a_transaction_asks_for_more_digits_than_the_policy_and_never_for_fewer(
    bank: Bank, phone: Phone
) -> None:
    assert _ask(bank, phone, confirmation={"offline": True, "digits": 9})["digits"] == 9
    for offline in (True, False):
        with pytest.raises(BankRefused) as refused:
            _ask(bank, phone, confirmation={"offline": offline, "digits": 7})
        assert (refused.value.status, refused.value.code) == (422, "not_allowed_by_policy")


def test_an_authentication_is_confirmed_offline_under_its_own_operation(bank: Bank, phone: Phone) -> None:
    made = _ask(bank, phone, kind="authenticate")
    code = phone.short_code(phone.shown_offline(_read(bank, made["id"])))
    assert bank.submit_code(made["id"], code)["confirmation"]["operation"] == "authenticate"


def test_without_leave_there_is_neither_a_picture_nor_a_code(stage: Stage, bank: Bank, phone: Phone) -> None:
    made = _ask(bank, phone, confirmation={"offline": False})
    code = phone.short_code(phone.show(made["id"]))
    assert _refusal(bank, made["id"], code) == (422, "not_allowed_by_policy")
    with pytest.raises(BankRefused) as refused:
        bank.transaction_qr(made["id"])
    assert refused.value.code == "not_allowed_by_policy"


def _offline_told(phone: Phone, transaction: str) -> list[bool]:
    """Return what the phone is told of short codes for the transaction, by itself and in the list."""
    alone = phone.open_answer(phone.request("transactions.get", {"transaction": transaction})).json()
    listed = phone.open_answer(phone.request("transactions.pending", {})).json()["transactions"]
    return [alone["offline"], *(each["offline"] for each in listed if each["transaction"] == transaction)]


def test_leave_that_is_taken_back_is_gone_at_once(bank: Bank, phone: Phone) -> None:
    made, before = _ask(bank, phone), bank.policy()["policy"]
    code = phone.short_code(phone.show(made["id"]))
    assert _offline_told(phone, made["id"]) == [True, True]
    bank.put_policy({"policy": before | {"offline_allowed": False}})
    try:
        assert _offline_told(phone, made["id"]) == [False, False]
        assert _refusal(bank, made["id"], code) == (422, "not_allowed_by_policy")
        with pytest.raises(BankRefused):
            bank.transaction_qr(made["id"])
    finally:
        bank.put_policy({"policy": before})
    assert bank.submit_code(made["id"], code)["status"] == "confirmed"


def test_content_too_large_for_a_picture_has_no_offline_form_but_a_code(bank: Bank, phone: Phone) -> None:
    made = _ask(bank, phone, "x" * 1501)
    with pytest.raises(BankRefused) as refused:
        bank.transaction_qr(made["id"])
    assert refused.value.code == "not_allowed_by_policy"
    assert bank.submit_code(made["id"], phone.short_code(phone.show(made["id"])))["status"] == "confirmed"


def test_the_code_of_another_transaction_or_user_is_refused(stage: Stage, bank: Bank, phone: Phone) -> None:
    made, other = _ask(bank, phone), _ask(bank, phone)
    assert _refusal(bank, made["id"], phone.short_code(phone.show(other["id"]))) == (403, "proof_refused")
    stranger = stage.phone(bank=bank)
    theirs = _ask(bank, stranger)
    assert _refusal(bank, made["id"], stranger.short_code(stranger.show(theirs["id"]))) == (
        403,
        "proof_refused",
    )
    kept = bank.transaction(made["id"])["attempts"]
    assert [(each["outcome"], each["channel"]) for each in kept] == [("refused", "offline")] * 2


def test_guesses_online_and_offline_are_counted_together_and_block(
    stage: Stage, bank: Bank, phone: Phone
) -> None:
    made = _ask(bank, phone)
    shown = phone.show(made["id"])
    right = phone.short_code(shown)
    for _ in range(3):
        assert _refusal(bank, made["id"], _wrong(right)) == (403, "proof_refused")
    body = phone.confirmation_body(shown, 1)
    body["code"] = phone.confirmation_body(phone.show(_ask(bank, phone)["id"]), 1)["code"]
    assert phone.request("transactions.approve", body).status == 403
    assert [
        each["detail"]["failures"]
        for each in stage.events(bank, type="user.block_near", user=phone.account.user)
    ] == [4]
    assert _refusal(bank, made["id"], _wrong(right)) == (403, "proof_refused")
    assert bank.user(phone.account.user)["status"] == "blocked"
    assert bank.transaction(made["id"])["reason"] == "too_many_failures"
    assert _refusal(bank, made["id"], right) == (409, "transaction_settled")
    assert _refusal(bank, _ask_while_blocked(bank, phone), right)[1] == "user_blocked"


def _ask_while_blocked(bank: Bank, phone: Phone) -> str:
    bank.unblock(phone.account.user)
    made = _ask(bank, phone)["id"]
    bank.block(phone.account.user, "lost")
    return str(made)


def test_a_right_code_clears_the_count(bank: Bank, phone: Phone) -> None:
    for _ in range(3):
        made = _ask(bank, phone)
        right = phone.short_code(phone.show(made["id"]))
        for _ in range(2):
            assert _refusal(bank, made["id"], _wrong(right)) == (403, "proof_refused")
        assert bank.submit_code(made["id"], right)["status"] == "confirmed"
    assert bank.user(phone.account.user)["failures"] == 0


def test_guesses_side_by_side_at_two_processes_do_not_outrun_the_count(
    stage: Stage, keys: Json, bank: Bank, phone: Phone
) -> None:
    made = _ask(bank, phone)
    right = phone.short_code(phone.show(made["id"]))
    banks = [bank, stage.twin_bank(keys)]
    outcomes: list[str] = []

    def guess(number: int) -> None:
        try:
            outcomes.append(
                banks[number % 2].submit_code(made["id"], f"{(int(right) + 1 + number) % 10**8:08d}")[
                    "status"
                ]
            )
        except BankRefused as refused:
            outcomes.append(refused.code)

    crowd = [threading.Thread(target=guess, args=(number,)) for number in range(16)]
    for each in crowd:
        each.start()
    for each in crowd:
        each.join()
    assert outcomes.count("proof_refused") == 5
    assert bank.user(phone.account.user)["status"] == "blocked"


def test_an_old_confirmation_by_short_code_is_verified(bank: Bank, phone: Phone) -> None:
    made = _ask(bank, phone)
    settled = bank.submit_code(made["id"], phone.short_code(phone.show(made["id"])))["confirmation"]
    right = {"step": settled["step"], "code": settled["code"]}
    assert bank.verify(made["id"], **right)["valid"]
    assert not bank.verify(made["id"], **right | {"code": _wrong(settled["code"])})["valid"]
    assert not bank.verify(made["id"], text="Pay 99 EUR to Eve", **right)["valid"]


def test_verifying_is_no_way_to_guess_a_code_that_was_not_accepted(bank: Bank, phone: Phone) -> None:
    made = _ask(bank, phone)
    shown: Shown = phone.show(made["id"])
    right = phone.short_code(shown)
    assert _refusal(bank, made["id"], _wrong(right)) == (403, "proof_refused")
    step = bank.transaction(made["id"])["attempts"][0]["step"]
    assert bank.verify(made["id"], step=step, code=right)["checks"] == {"code": False}


def test_keys_that_were_never_registered_do_not_approve_what_requires_registered_ones(stage: Stage) -> None:
    lenient = stage.bank_with(offline_allowed=True, kpublic_required=False)
    phone = stage.phone(bank=lenient)
    required = {"offline": True, "kpublic_required": True}
    made = lenient.create_transaction(phone.account.user, text="Pay", confirmation=required)
    shown = phone.show(made["id"])
    unregistered = stage.enrol(phone.account.user, lenient)  # ends the registered keys
    assert _refusal(lenient, made["id"], unregistered.short_code(shown))[1] == "no_active_keys"
