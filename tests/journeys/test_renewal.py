"""Does a phone get new keys under its old ones, and can it go on wherever it is interrupted?"""

import threading
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.counterparts.phone import Phone
from tests.counterparts.phone_line import NetworkFailure, NotRecognised, Refused
from tests.counterparts.phone_tlv import b64, unb64
from tests.journeys.stage import Json, Stage


@pytest.fixture
def phone(stage: Stage) -> Phone:
    """A registered phone of a new user."""
    return stage.phone()


@pytest.fixture(scope="module")
def wrap_key() -> rsa.RSAPrivateKey:
    """A key that a phone made for its new keys."""
    return rsa.generate_private_key(65537, 3072)


def _keysets(stage: Stage, phone: Phone) -> list[tuple[str, str]]:
    return [(each["id"], each["status"]) for each in stage.bank.keysets(phone.account.user)]


def _package(phone: Phone, wrap_key: rsa.RSAPrivateKey) -> bytes:
    return unb64(phone.call("keys.renew", lambda: phone.renewal_body(wrap_key))["package"])


def _successor(stage: Stage, phone: Phone, package: bytes, wrap_key: rsa.RSAPrivateKey) -> Phone:
    """The phone with the new keys, which it registers next; on the same device."""
    fresh = stage.personalise(package, wrap_key=wrap_key)
    object.__setattr__(fresh.account, "fingerprint", phone.account.fingerprint)
    return fresh


def test_a_phone_renews_its_keys_and_the_old_ones_only_verify(stage: Stage, phone: Phone) -> None:
    old = phone.account.keyset
    before, waiting = stage.ask(phone), stage.ask(phone, "Answered with the new keys")
    phone.approve(before)
    phone.renew()
    new = phone.account.keyset
    assert _keysets(stage, phone) == [(old, "deleted"), (new, "active")]
    assert phone.approve(phone.show(waiting.transaction))["status"] == "confirmed"
    kept = stage.bank.transaction(before.transaction)["confirmation"]
    told = stage.bank.verify(
        before.transaction, step=kept["step"], code=kept["code"], signature=kept["signature"]
    )
    assert (told["valid"], told["keyset"], told["keyset_status_now"]) == (True, old, "deleted")
    first, second = stage.bank.keysets(phone.account.user)
    assert second["renews"] == first["id"]
    assert second["device"] == first["device"]  # it is the same phone
    assert second["delivery"] == "sealed"


def test_the_old_keys_serve_until_the_new_ones_are_registered(
    stage: Stage, phone: Phone, wrap_key: rsa.RSAPrivateKey
) -> None:
    package = _package(phone, wrap_key)
    assert phone.approve(stage.ask(phone))["status"] == "confirmed"
    fresh = _successor(stage, phone, package, wrap_key)
    with pytest.raises(NotRecognised):
        fresh.pending()  # issued keys may register, and nothing else
    fresh.register()
    with pytest.raises(NotRecognised):
        phone.pending()
    assert fresh.approve(stage.ask(fresh))["status"] == "confirmed"


def test_a_phone_that_lost_the_answer_asks_again_and_the_renewal_before_is_void(
    stage: Stage, phone: Phone, wrap_key: rsa.RSAPrivateKey
) -> None:
    lost = _package(phone, wrap_key)
    phone.renew()
    states = [status for _, status in _keysets(stage, phone)]
    assert states == ["deleted", "void", "active"]
    late = _successor(stage, phone, lost, wrap_key)
    with pytest.raises(NotRecognised):
        late.register()
    assert phone.approve(stage.ask(phone))["status"] == "confirmed"


def test_a_phone_that_lost_the_answer_to_its_registration_repeats_it(
    stage: Stage, phone: Phone, wrap_key: rsa.RSAPrivateKey
) -> None:
    fresh = _successor(stage, phone, _package(phone, wrap_key), wrap_key)
    body = fresh.registration_body()
    first = fresh.request("keys.register", body)
    again = fresh.request("keys.register", body)
    assert (first.status, again.status) == (200, 200)
    assert first.json() == again.json()


def test_renewed_keys_are_registered_on_their_device_alone(
    stage: Stage, phone: Phone, wrap_key: rsa.RSAPrivateKey
) -> None:
    elsewhere = stage.personalise(_package(phone, wrap_key), wrap_key=wrap_key)
    with pytest.raises(Refused) as refused:
        elsewhere.register()
    assert refused.value.code == "not_allowed_by_policy"
    assert phone.approve(stage.ask(phone))["status"] == "confirmed"


def test_wrong_proofs_renew_nothing_and_count(
    stage: Stage, phone: Phone, wrap_key: rsa.RSAPrivateKey
) -> None:
    other = stage.phone()
    for number in range(1, 6):
        body = phone.renewal_body(wrap_key) | {"code": other.renewal_body(wrap_key)["code"]}
        assert phone.request("keys.renew", body).status == 403
        assert stage.bank.user(phone.account.user)["failures"] in (number, 0)
    assert stage.bank.user(phone.account.user)["status"] == "blocked"
    assert len(_keysets(stage, phone)) == 1


def test_a_key_that_is_not_the_one_that_was_signed_gets_nothing(
    stage: Stage, phone: Phone, wrap_key: rsa.RSAPrivateKey
) -> None:
    thief = rsa.generate_private_key(65537, 3072)
    body = phone.renewal_body(wrap_key) | {"wrap_key": phone.renewal_body(thief)["wrap_key"]}
    assert phone.request("keys.renew", body).status == 403


@pytest.mark.parametrize(
    "changes", [{"oaep": []}, {"oaep": ["MD5"]}, {"oaep": ["SHA-1", "SHA-1"]}, {"wrap_key": "AAAA"}]
)
def test_a_renewal_of_another_form_is_refused(
    stage: Stage, phone: Phone, wrap_key: rsa.RSAPrivateKey, changes: Json
) -> None:
    assert phone.request("keys.renew", phone.renewal_body(wrap_key) | changes).status == 400
    assert len(_keysets(stage, phone)) == 1


def test_a_key_of_2048_bits_is_too_short(stage: Stage, phone: Phone) -> None:
    short = rsa.generate_private_key(65537, 2048)
    assert phone.request("keys.renew", phone.renewal_body(short)).status == 400


def test_a_request_to_renew_is_good_once(stage: Stage, phone: Phone, wrap_key: rsa.RSAPrivateKey) -> None:
    raw = phone.envelope("keys.renew", phone.renewal_body(wrap_key))
    assert phone.send("keys.renew", raw).status == 200
    assert phone.send("keys.renew", raw).status == 401
    assert [status for _, status in _keysets(stage, phone)] == ["active", "issued"]


def test_renewals_side_by_side_leave_one_that_can_be_registered(
    stage: Stage, phone: Phone, wrap_key: rsa.RSAPrivateKey
) -> None:
    packages: list[bytes] = []
    lines = [phone, stage.through_twin(phone)] * 2

    def renew(line: Phone) -> None:
        answer: Any = line.request("keys.renew", phone.renewal_body(wrap_key))
        if answer.status == 200:
            packages.append(unb64(answer.json()["package"]))

    crowd = [threading.Thread(target=renew, args=(line,)) for line in lines]
    for each in crowd:
        each.start()
    for each in crowd:
        each.join()
    states = sorted(status for _, status in _keysets(stage, phone))
    assert states == ["active", "issued"] + ["void"] * (len(packages) - 1)
    registered = 0
    for package in packages:
        try:
            _successor(stage, phone, package, wrap_key).register()
            registered += 1
        except (NotRecognised, NetworkFailure):
            pass
    assert registered == 1


def test_new_keys_of_the_bank_end_a_renewal_under_way(
    stage: Stage, phone: Phone, wrap_key: rsa.RSAPrivateKey
) -> None:
    package = _package(phone, wrap_key)
    stage.phone(phone.account.user)
    with pytest.raises(NotRecognised):
        _successor(stage, phone, package, wrap_key).register()
    assert [status for _, status in _keysets(stage, phone)] == ["deleted", "deleted", "active"]


def test_a_phone_enrols_from_a_package_that_is_sealed_to_its_key(
    stage: Stage, wrap_key: rsa.RSAPrivateKey
) -> None:
    user, body = stage.user(), stage.phone().renewal_body(wrap_key)
    issued = stage.bank.issue_keyset(user, "sealed", wrap_key=body["wrap_key"], oaep=["SHA-512", "SHA-1"])
    assert issued.qr_text == ""
    phone = stage.personalise(issued.package, wrap_key=wrap_key)
    phone.register()
    assert phone.approve(stage.ask(phone))["status"] == "confirmed"


def test_no_hash_is_taken_that_the_device_does_not_accept(stage: Stage, wrap_key: rsa.RSAPrivateKey) -> None:
    body = stage.phone().renewal_body(wrap_key)
    user = stage.user()
    for more in (
        {"oaep": ["SHA-512"]},  # SoftHSM wraps under SHA-1 alone
        {},
        {"oaep": ["SHA-1"], "secret": "x" * 30},
        {"oaep": ["SHA-1"], "wrap_key": "AAAA"},
        {"oaep": ["SHA-1"], "wrap_key": _spki(1024)},
    ):
        path, sent = f"/v1/users/{user}/keysets", {"delivery": "sealed", "wrap_key": body["wrap_key"], **more}
        answer = stage.bank.request("POST", path, json=sent)
        assert answer.status_code in (400, 422), more
    assert stage.bank.keysets(user) == []
    sent = {"delivery": "sealed", "wrap_key": _spki(2048), "oaep": ["SHA-1"]}
    assert stage.bank.request("POST", path, json=sent).status_code == 201


def _spki(bits: int) -> str:
    key = rsa.generate_private_key(65537, bits).public_key()
    return b64(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
