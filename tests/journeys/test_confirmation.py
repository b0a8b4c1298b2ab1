"""Is what the bank asks confirmed, declined, cancelled or timed out, exactly once, whatever gets lost?"""

import hashlib
import os
import threading
import time
import uuid
from dataclasses import replace

import pytest

from tests.counterparts.bank import BankRefused
from tests.counterparts.phone import Phone
from tests.counterparts.phone_line import Refused
from tests.counterparts.phone_tlv import b64
from tests.counterparts.phone_wire import Operation
from tests.journeys.stage import Stage

PDF_BYTES = 10 * 1024 * 1024


@pytest.fixture(scope="module")
def phone(stage: Stage) -> Phone:
    """A registered phone of this module's user."""
    return stage.phone()


def test_a_text_is_confirmed_with_code_and_signature(stage: Stage, phone: Phone) -> None:
    made = stage.bank.create_transaction(phone.account.user, text="Zahle 10 € an Zoë\n", title="Überweisung")
    assert made["status"] == "pending"
    shown = phone.show(made["id"])
    assert (shown.text, shown.title) == ("Zahle 10 € an Zoë\n", "Überweisung")
    assert phone.approve(shown) == {"transaction": made["id"], "status": "confirmed", "reason": None}
    settled = stage.bank.transaction(made["id"])
    assert settled["confirmation"]["verified"] == ["step", "code", "signature"]
    assert settled["confirmation"]["device"] == {"uv": "password"}
    assert len(settled["attempts"]) == 1
    assert settled["receipt"]


def test_a_document_of_ten_mebibytes_is_fetched_in_parts_and_confirmed(stage: Stage, phone: Phone) -> None:
    pdf = b"%PDF-1.7\n" + os.urandom(PDF_BYTES)
    made = stage.bank.create_transaction(phone.account.user, content=pdf, media_type="application/pdf")
    assert made["content_sha256"] == b64(hashlib.sha256(pdf).digest())
    assert phone.part(made["id"], len(pdf) - 3, 100) == pdf[-3:]  # fewer bytes at the end
    assert phone.part(made["id"], 256 * 1024 - 1, 2) == pdf[256 * 1024 - 1 : 256 * 1024 + 1]
    shown = phone.show(made["id"])
    assert shown.content == pdf
    assert phone.approve(shown)["status"] == "confirmed"
    with pytest.raises(Refused) as refused:
        phone.part(made["id"], 0, 10)
    assert refused.value.code == "transaction_settled"


def test_a_declined_transaction_keeps_the_proof_of_its_decline(stage: Stage, phone: Phone) -> None:
    shown = stage.ask(phone)
    assert phone.decline(shown)["status"] == "declined"
    settled = stage.bank.transaction(shown.transaction)
    assert settled["status"] == "declined"
    assert settled["confirmation"]["operation"] == "decline"


def test_an_authentication_is_confirmed_under_its_own_operation(stage: Stage, phone: Phone) -> None:
    shown = stage.ask(phone, "Log in to the bank, 09:00:00", kind="authenticate")
    assert phone.approve(shown)["status"] == "confirmed"
    assert stage.bank.transaction(shown.transaction)["confirmation"]["operation"] == "authenticate"


def test_the_bank_cancels_and_gives_its_reason(stage: Stage, phone: Phone) -> None:
    shown = stage.ask(phone)
    cancelled = stage.bank.cancel(shown.transaction, "ordered twice")
    assert (cancelled["status"], cancelled["reason"]) == ("cancelled", "ordered twice")
    assert shown.transaction not in [each["transaction"] for each in phone.pending()]
    with pytest.raises(Refused) as refused:
        phone.approve(shown)
    assert refused.value.code == "transaction_settled"


def test_a_transaction_nobody_answers_is_cancelled_when_its_time_is_over(stage: Stage, phone: Phone) -> None:
    another = stage.ask(phone)  # this one may have ended before the phone could show it
    made = stage.bank.create_transaction(phone.account.user, text=another.text, expires_in=1)
    settled = stage.bank.wait(made["id"], seconds=30)
    assert (settled["status"], settled["reason"]) == ("cancelled", "timeout")
    with pytest.raises(Refused) as refused:
        phone.approve(replace(another, transaction=made["id"]))
    assert refused.value.code == "transaction_settled"


def test_the_list_of_pending_transactions_is_oldest_first_and_empties(stage: Stage) -> None:
    phone = stage.phone()
    shown = [stage.ask(phone, f"Payment {number}") for number in range(3)]
    assert [each["transaction"] for each in phone.pending()] == [each.transaction for each in shown]
    phone.approve(shown[0])
    phone.decline(shown[1])
    stage.bank.cancel(shown[2].transaction)
    assert phone.pending() == []


def test_an_empty_list_is_held_back_until_something_is_pending(stage: Stage) -> None:
    phone = stage.phone()
    found: list[dict[str, object]] = []
    waiting = threading.Thread(target=lambda: found.extend(phone.pending(wait=30)))
    waiting.start()
    made = stage.bank.create_transaction(phone.account.user, text="Wake up")
    waiting.join(25)
    assert [each["transaction"] for each in found] == [made["id"]]


def test_the_bank_is_answered_as_soon_as_the_phone_has_answered(stage: Stage, phone: Phone) -> None:
    shown = stage.ask(phone)
    seen: list[str] = []
    waiting = threading.Thread(
        target=lambda: seen.append(stage.bank.transaction(shown.transaction, wait=30)["status"])
    )
    waiting.start()
    started = time.monotonic()
    phone.approve(shown)
    waiting.join()
    assert seen == ["confirmed"]
    assert time.monotonic() - started < 25  # who is not woken waits to the end


def test_a_wait_for_a_transaction_nobody_answers_ends_in_time(stage: Stage, phone: Phone) -> None:
    shown = stage.ask(phone)
    started = time.monotonic()
    assert stage.bank.transaction(shown.transaction, wait=1)["status"] == "pending"
    assert 0.9 < time.monotonic() - started < 20


def test_a_repeated_creation_makes_one_transaction(stage: Stage, phone: Phone) -> None:
    key, user = str(uuid.uuid4()), phone.account.user
    first = stage.bank.create_transaction(user, text="Pay once", idempotency_key=key)
    phone.approve(phone.show(first["id"]))
    again = stage.bank.create_transaction(user, text="Pay once", idempotency_key=key)
    assert again["id"] == first["id"]
    with pytest.raises(BankRefused) as refused:
        stage.bank.create_transaction(user, text="Pay twice", idempotency_key=key)
    assert refused.value.code == "idempotency_mismatch"
    created = stage.events(transaction=first["id"], type="transaction.created")
    assert len(created) == 1


def test_creations_racing_under_one_key_make_one_transaction(stage: Stage, phone: Phone) -> None:
    key, ids = str(uuid.uuid4()), list[str]()

    def create() -> None:
        ids.append(
            stage.bank.create_transaction(phone.account.user, text="Pay once", idempotency_key=key)["id"]
        )

    racers = [threading.Thread(target=create) for _ in range(6)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert len(ids) == 6
    assert len(set(ids)) == 1


@pytest.mark.parametrize("operation", [Operation.APPROVE, Operation.DECLINE])
def test_who_lost_the_answer_asks_again_and_gets_the_stored_outcome(
    stage: Stage, phone: Phone, operation: Operation
) -> None:
    shown = stage.ask(phone)
    action = "transactions.approve" if operation is Operation.APPROVE else "transactions.decline"
    body = phone.confirmation_body(shown, operation)
    first = phone.open_answer(phone.request(action, body)).json()
    second = phone.open_answer(phone.request(action, body)).json()  # the same body in a fresh envelope
    third = phone.open_answer(phone.request(action, phone.confirmation_body(shown, operation))).json()
    assert first == second == third
    settled = stage.bank.transaction(shown.transaction)
    assert len(settled["attempts"]) == 1
    late = stage.events(transaction=shown.transaction, type="transaction.late_answer")
    assert [event["result"] for event in late] == ["repeated", "repeated"]
    assert stage.bank.transaction(shown.transaction)["receipt"] == settled["receipt"]


def test_the_pages_of_the_banks_list_hold_every_transaction_once(stage: Stage) -> None:
    phone = stage.phone()
    made = [stage.bank.create_transaction(phone.account.user, text=f"{n}")["id"] for n in range(5)]
    found, after = list[str](), None
    while True:
        page = stage.bank.transactions(user=phone.account.user, limit=2, after=after)
        found += [each["id"] for each in page["transactions"]]
        after = page["next"]
        if after is None:
            break
    assert found == made[::-1]
