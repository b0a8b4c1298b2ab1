"""Does a user log in by what the phone makes itself, over HTTP, and does the bank learn of it and verify it later?"""

import base64
import hashlib

import pytest

from tests.counterparts.bank import Bank, BankRefused
from tests.counterparts.phone import Phone
from tests.counterparts.phone_line import Refused
from tests.counterparts.phone_wire import format_time
from tests.journeys.stage import Json, Stage

TEXT = "text/plain; charset=utf-8"
RULES = [{"name": "login", "media_type": TEXT, "template": "Log in to Bank, {user}, {time}"}]


@pytest.fixture(scope="module")
def bank(stage: Stage) -> Bank:
    """A bank with a rule."""
    return stage.bank_with(authentication_rules=RULES)


@pytest.fixture(scope="module")
def phone(stage: Stage, bank: Bank) -> Phone:
    """A registered phone."""
    return stage.phone(bank=bank)


def _text(phone: Phone) -> str:
    return f"Log in to Bank, {phone.account.user}, {format_time(phone.now())}"


def test_a_phone_authenticates_its_user_and_the_bank_verifies_it(bank: Bank, phone: Phone) -> None:
    text = _text(phone)
    answer = phone.authenticate(text.encode())
    made = bank.authentication(answer["authentication"])
    assert (made["user"], made["rule"], made["channel"]) == (phone.account.user, "login", "online")
    assert bank.authentications(phone.account.user)["authentications"] == [made]
    proofs: Json = {name: made[name] for name in ("step", "code", "signature")}
    assert bank.verify(authentication=made["id"], text=text, **proofs)["valid"]
    assert not bank.verify(authentication=made["id"], text=text + ".", **proofs)["valid"]
    with pytest.raises(Refused) as refused:
        phone.authenticate(b"Log in to Bank")
    assert (refused.value.status, refused.value.code) == (422, "not_allowed_by_policy")


def test_a_bank_passes_on_what_the_phone_gave_it(stage: Stage, bank: Bank) -> None:
    # Its own: in the first second of a minute the other test gives this very content.
    phone = stage.phone(bank=bank)
    content = f"Log in to Bank, {phone.account.user}, {format_time(phone.now().replace(second=0))}".encode()
    message = phone.message(3, TEXT, hashlib.sha256(content).digest())
    given: Json = {"media_type": TEXT, "content": base64.b64encode(content).decode(), **phone.proofs(message)}
    made = bank.pass_authentication_on(phone.account.user, **given)
    assert (made["channel"], made["verified"]) == ("passed_on", ["step", "code", "signature"])
    with pytest.raises(BankRefused) as refused:
        bank.pass_authentication_on(phone.account.user, **given)
    assert (refused.value.status, refused.value.code) == (409, "already_used")
    for wrong in ({"rule": "login"}, {"content": ""}, {"code": "12345678"}):
        with pytest.raises(BankRefused) as refused:
            bank.pass_authentication_on(phone.account.user, **(given | wrong))
        assert refused.value.code == "malformed_request"
