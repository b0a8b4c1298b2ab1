"""Do keys reach the phone over every channel, once, and does a newer delivery replace an older one?"""

import base64
import hashlib
from typing import Any

import pytest

from tests.counterparts.bank import BankRefused
from tests.counterparts.phone_line import NotRecognised
from tests.counterparts.phone_package import Package, read_package
from tests.journeys.stage import Stage

SECRET = "kT4mW9xQ2zB7vN5cR8pL"
PUSH = {"provider": "none", "identifier": "device-token-1"}


def _confirm(stage: Stage, phone: Any) -> None:
    shown = stage.ask(phone)
    assert phone.approve(shown)["status"] == "confirmed"


@pytest.mark.parametrize("form", ["text", "png", "svg", "package"])
def test_a_phone_enrols_from_every_form_of_a_qr_delivery(stage: Stage, form: str) -> None:
    user = stage.user()
    issued = stage.bank.issue_keyset(user, "qr")
    forms: dict[str, str | bytes] = {
        "text": issued.qr_text,
        "png": issued.qr_png,
        "svg": issued.qr_svg.encode(),
        "package": issued.package,
    }
    phone = stage.personalise(forms[form])
    answer = phone.register(push=PUSH)
    assert answer["keyset"] == issued.id
    _confirm(stage, phone)


def test_a_bank_that_draws_the_code_itself_gets_its_text_alone(stage: Stage) -> None:
    path = f"/v1/users/{stage.user()}/keysets"
    found = stage.bank.call("POST", path, {"delivery": "qr", "pictures": False})
    assert (found["qr"]["svg"], found["qr"]["png"]) == (None, None)
    stage.personalise(found["qr"]["text"]).register()


def test_a_phone_enrols_online_with_the_secret_it_shares_with_the_bank(stage: Stage) -> None:
    issued = stage.bank.issue_keyset(stage.user(), "online", secret=SECRET)
    assert SECRET.encode() not in read_package(issued.package)
    phone = stage.personalise(issued.package, secret=SECRET)
    phone.register()
    _confirm(stage, phone)


def test_a_phone_enrols_from_a_picture_and_a_code_that_came_another_way(stage: Stage) -> None:
    user = stage.user()
    issued = stage.bank.issue_keyset(user, "qr_and_code")
    assert Package.decode(read_package(issued.qr_text)).secret is None
    code = stage.bank.activation_code(user, issued.id)
    spoken = code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    phone = stage.personalise(issued.qr_png, activation_code=spoken)
    phone.register()
    _confirm(stage, phone)


def test_an_activation_code_is_given_once(stage: Stage) -> None:
    user = stage.user()
    issued = stage.bank.issue_keyset(user, "qr_and_code")
    stage.bank.activation_code(user, issued.id)
    with pytest.raises(BankRefused) as refused:
        stage.bank.activation_code(user, issued.id)
    assert refused.value.code == "already_delivered"
    given = stage.events(user=user, type="keyset.activation_code_given")
    assert [event["keyset"] for event in given] == [issued.id]


def test_an_activation_code_is_not_given_for_another_delivery_or_after_registration(stage: Stage) -> None:
    user = stage.user()
    issued = stage.bank.issue_keyset(user, "qr")
    with pytest.raises(BankRefused) as refused:
        stage.bank.activation_code(user, issued.id)
    assert refused.value.code == "keyset_not_open"


def test_a_package_is_never_delivered_twice(stage: Stage) -> None:
    user = stage.user()
    key = f"issue-{user}"
    stage.bank.issue_keyset(user, "qr", idempotency_key=key)
    with pytest.raises(BankRefused) as refused:
        stage.bank.issue_keyset(user, "qr", idempotency_key=key)
    assert refused.value.code == "already_delivered"
    assert len(stage.bank.keysets(user)) == 1


def test_registration_makes_the_keyset_active_with_its_device(stage: Stage) -> None:
    user = stage.user()
    phone = stage.enrol(user)
    assert [keyset["status"] for keyset in stage.bank.keysets(user)] == ["issued"]
    phone.register(push=PUSH)
    [keyset] = stage.bank.user(user)["keysets"]
    assert keyset["status"] == "active"
    assert keyset["device"]["push"] == "none"
    assert base64.b64decode(keyset["device"]["fingerprint"]) == phone.account.fingerprint
    assert keyset["valid_until"] == phone.account.valid_until


def test_an_issued_keyset_may_do_nothing_but_register(stage: Stage) -> None:
    phone = stage.enrol(stage.user())
    with pytest.raises(NotRecognised):
        phone.pending()
    phone.register()
    assert phone.pending() == []


def test_without_the_need_of_a_key_pair_the_code_alone_confirms(stage: Stage) -> None:
    bank = stage.bank_with(kpublic_required=False, bind_to_device=False)
    phone = stage.enrol(stage.user(bank), bank)
    shown = stage.ask(phone, bank=bank)
    assert phone.approve(shown)["status"] == "confirmed"
    confirmation = bank.transaction(shown.transaction)["confirmation"]
    assert confirmation["signature"] is None
    assert confirmation["verified"] == ["step", "code"]


def test_a_second_keyset_replaces_the_first(stage: Stage) -> None:
    user = stage.user()
    old = stage.phone(user)
    shown = stage.ask(old)
    old.approve(shown)
    new = stage.phone(user)
    first, second = stage.bank.keysets(user)
    assert (first["status"], second["status"]) == ("deleted", "active")
    with pytest.raises(NotRecognised):
        old.pending()
    _confirm(stage, new)
    signed = stage.bank.transaction(shown.transaction)["confirmation"]
    verdict = stage.bank.verify(
        shown.transaction, step=signed["step"], code=signed["code"], signature=signed["signature"]
    )
    assert verdict["valid"]
    assert verdict["keyset"] == first["id"]
    assert (verdict["keyset_status_then"], verdict["keyset_status_now"]) == ("active", "deleted")


def test_a_transaction_that_waited_can_be_answered_with_the_newer_keys(stage: Stage) -> None:
    user = stage.user()
    shown = stage.ask(stage.phone(user))
    new = stage.phone(user)
    assert [each["transaction"] for each in new.pending()] == [shown.transaction]
    assert new.approve(new.show(shown.transaction))["status"] == "confirmed"


def test_a_repeated_registration_gets_the_same_answer(stage: Stage) -> None:
    phone = stage.enrol(stage.user())
    body = phone.registration_body()
    first = phone.open_answer(phone.request("keys.register", body)).json()
    second = phone.open_answer(phone.request("keys.register", body)).json()
    assert first == second


def test_the_package_says_what_the_policy_says(stage: Stage) -> None:
    bank = stage.bank_with(password_length=8, password_classes=7, step_seconds=60, validity_days=30)
    issued = bank.issue_keyset(stage.user(bank), "qr")
    package = Package.decode(read_package(issued.qr_text))
    assert package.policy.password_length == 8
    assert package.policy.step_seconds == 60
    assert package.url == stage.gateway.client_url
    tlv = read_package(issued.package)
    assert hashlib.sha256(tlv).digest() != package.digest  # the digest leaves the secret out
    phone = stage.personalise(issued.qr_text)
    phone.register()
    shown = stage.ask(phone, bank=bank)
    assert phone.approve(shown)["status"] == "confirmed"
