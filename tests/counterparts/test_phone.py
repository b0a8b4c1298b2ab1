"""The phone believes only proved answers and signs what it shows."""

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.counterparts.phone import Phone
from tests.counterparts.phone_line import (
    NetworkFailure,
    Refused,
)
from tests.counterparts.phone_requests import REMOVED
from tests.counterparts.phone_tlv import b64, unb64
from tests.counterparts.phone_wire import Operation, answer_proof, mac
from tests.counterparts.stand_in_gateway import (
    CONTENT,
    KAUTH,
    KHMAC,
    SECRET,
    Spoil,
    StandInGateway,
    flipped,
    package_tlv,
    policy_tlv,
)

ITERATIONS = 10


@pytest.fixture
def gateway():
    with StandInGateway() as running:
        yield running


@pytest.fixture
def phone(gateway: StandInGateway):
    with Phone.enrol(package_tlv(gateway.url), activation_code=SECRET) as enrolled:
        yield enrolled


def last_body(gateway: StandInGateway):
    return gateway.requests[-1]["body"]


def test_registration_proves_all_three_keys(gateway: StandInGateway, phone: Phone):
    phone.register()
    body = last_body(gateway)
    spki = unb64(body["kpublic"])
    assert len(spki) == 91
    assert unb64(body["package"]) == hashlib.sha256(package_tlv(gateway.url)).digest()
    message = phone.message(
        Operation.REGISTER_KEY, "application/spki", hashlib.sha256(spki).digest(), step=body["step"]
    ).encode()
    assert unb64(body["code"]) == mac(KHMAC, message)
    public = phone.private_key.public_key()
    public.verify(unb64(body["signature"]), message, ec.ECDSA(hashes.SHA256()))
    assert phone.account.registered
    assert phone.account.package_digest is None


def test_a_phone_not_bound_to_its_device_has_an_empty_fingerprint(gateway: StandInGateway):
    with Phone.enrol(package_tlv(gateway.url, policy=policy_tlv(flags=0)), secret=SECRET) as phone:
        phone.register()
    assert last_body(gateway)["fingerprint"] == ""


def test_the_phone_signs_the_content_it_fetched_in_parts(gateway: StandInGateway, phone: Phone):
    phone.register()
    shown = phone.show("txn_1")
    assert shown.content == CONTENT
    assert phone.approve(shown)["status"] == "transactions.approve"
    body = last_body(gateway)
    message = phone.message_of(shown, Operation.APPROVE, step=body["step"]).encode()
    assert hashlib.sha256(CONTENT).digest() in message
    assert unb64(body["code"]) == mac(KHMAC, message)
    assert len(phone.short_code(shown)) == 8


def test_a_decline_is_another_message(gateway: StandInGateway, phone: Phone):
    shown = phone.show("txn_1")
    approving = phone.confirmation_body(shown, Operation.APPROVE)
    declining = phone.confirmation_body(shown, Operation.DECLINE)
    assert approving["code"] != declining["code"]


def test_without_a_registered_key_there_is_no_signature(gateway: StandInGateway, phone: Phone):
    phone.approve(phone.show("txn_1"))
    assert "signature" not in last_body(gateway)


def test_content_other_than_announced_is_not_shown(gateway: StandInGateway, phone: Phone):
    announced = gateway.transaction()
    gateway.transaction = lambda: announced
    gateway.content = CONTENT.replace(b"120", b"920")
    with pytest.raises(NetworkFailure):
        phone.show("txn_1")


SPOILED = {
    "no proof": lambda _: [],
    "an altered proof": lambda proofs: [flipped(proofs[0])],
    "two proofs": lambda proofs: proofs * 2,
    "no base64": lambda _: ["proof"],
    "a shortened proof": lambda proofs: [b64(unb64(proofs[0])[:16])],
    "the request's own code": lambda _: [b64(bytes(32))],
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_an_answer_without_a_valid_proof_is_a_network_failure(
    gateway: StandInGateway, phone: Phone, spoil: Spoil
):
    gateway.spoil = spoil
    for act in (phone.pending, phone.register, lambda: phone.show("txn_1")):
        with pytest.raises(NetworkFailure):
            act()
    assert not phone.account.registered


def test_the_proof_of_another_answer_is_a_network_failure(gateway: StandInGateway, phone: Phone):
    kept = []
    gateway.spoil = lambda proofs: kept.extend(proofs) or [kept[0]]
    phone.pending()
    with pytest.raises(NetworkFailure):
        phone.pending()


@pytest.mark.parametrize("part", ["status", "content_type", "body"])
def test_a_proof_covers_every_part_of_the_answer(gateway: StandInGateway, phone: Phone, part: str):
    request = phone.envelope("transactions.pending", {})
    parts = {"status": 200, "content_type": b"application/json", "body": b"{}"}
    parts[part] = {"status": 201, "content_type": b"application/xml", "body": b"{ }"}[part]
    other = b64(answer_proof(KAUTH, mac(KAUTH, request), **parts))
    gateway.spoil = lambda _: [other]
    gateway._act = lambda *_: (200, "application/json", b"{}")
    assert not phone.send("transactions.pending", request).proved_under(KAUTH)


def test_a_proved_refusal_carries_its_code(gateway: StandInGateway, phone: Phone):
    gateway.refusal = (409, "transaction_settled")
    with pytest.raises(Refused) as raised:
        phone.pending()
    assert (raised.value.status, raised.value.code) == (409, "transaction_settled")


def test_an_unproved_refusal_is_a_network_failure(gateway: StandInGateway, phone: Phone):
    gateway.refusal = (409, "transaction_settled")
    gateway.spoil = lambda _: []
    with pytest.raises(NetworkFailure):
        phone.pending()


def test_a_gateway_out_of_reach_is_a_network_failure(phone: Phone):
    phone.line.base = "http://127.0.0.1:9"
    with pytest.raises(NetworkFailure):
        phone.pending()


def test_tests_can_alter_every_part_of_a_request(gateway: StandInGateway, phone: Phone):
    phone.request("transactions.get", {"x": 1}, time="then", nonce=REMOVED, extra=True)
    envelope = gateway.requests[-1]
    assert envelope["time"] == "then"
    assert envelope["extra"] is True
    assert "nonce" not in envelope
    raw = phone.envelope("transactions.get", {})
    assert phone.send("transactions.get", raw, authcode=bytes(32)).status == 401
    assert phone.send("transactions.get", raw, headers={}).status == 401
    assert gateway.raw[-1] == raw
