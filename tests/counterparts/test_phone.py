"""The phone believes only proved answers, over TLS to the pinned authority, and signs what it shows."""

import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import trustme
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.counterparts.phone import Phone
from tests.counterparts.phone_keys import PhoneStore, StoreDamaged
from tests.counterparts.phone_line import NetworkFailure, NotRecognised, PhoneError, Refused, spki_digest
from tests.counterparts.phone_requests import REMOVED
from tests.counterparts.phone_tlv import b64, unb64
from tests.counterparts.phone_wire import Operation, answer_proof, mac
from tests.counterparts.stand_in_gateway import (
    CONTENT,
    KAUTH,
    KHMAC,
    SECRET,
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
def phone(gateway):
    with Phone.enrol(package_tlv(gateway.url), activation_code=SECRET) as enrolled:
        yield enrolled


def last_body(gateway):
    return gateway.requests[-1]["body"]


def test_registration_proves_all_three_keys(gateway, phone):
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


def test_a_phone_not_bound_to_its_device_has_an_empty_fingerprint(gateway):
    with Phone.enrol(package_tlv(gateway.url, policy=policy_tlv(flags=0)), secret=SECRET) as phone:
        phone.register()
    assert last_body(gateway)["fingerprint"] == ""


def test_the_phone_signs_the_content_it_fetched_in_parts(gateway, phone):
    phone.register()
    shown = phone.show("txn_1")
    assert shown.content == CONTENT
    assert phone.approve(shown)["status"] == "transactions.approve"
    body = last_body(gateway)
    message = phone.message_of(shown, Operation.APPROVE, step=body["step"]).encode()
    assert hashlib.sha256(CONTENT).digest() in message
    assert unb64(body["code"]) == mac(KHMAC, message)
    assert len(phone.short_code(shown)) == 8


def test_a_decline_is_another_message(gateway, phone):
    shown = phone.show("txn_1")
    approving = phone.confirmation_body(shown, Operation.APPROVE)
    declining = phone.confirmation_body(shown, Operation.DECLINE)
    assert approving["code"] != declining["code"]


def test_without_a_registered_key_there_is_no_signature(gateway, phone):
    phone.approve(phone.show("txn_1"))
    assert "signature" not in last_body(gateway)


def test_content_other_than_announced_is_not_shown(gateway, phone):
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
def test_an_answer_without_a_valid_proof_is_a_network_failure(gateway, phone, spoil):
    gateway.spoil = spoil
    for act in (phone.pending, phone.register, lambda: phone.show("txn_1")):
        with pytest.raises(NetworkFailure):
            act()
    assert not phone.account.registered


def test_the_proof_of_another_answer_is_a_network_failure(gateway, phone):
    kept = []
    gateway.spoil = lambda proofs: kept.extend(proofs) or [kept[0]]
    phone.pending()
    with pytest.raises(NetworkFailure):
        phone.pending()


@pytest.mark.parametrize("part", ["status", "content_type", "body"])
def test_a_proof_covers_every_part_of_the_answer(gateway, phone, part):
    request = phone.envelope("transactions.pending", {})
    parts = {"status": 200, "content_type": b"application/json", "body": b"{}"}
    parts[part] = {"status": 201, "content_type": b"application/xml", "body": b"{ }"}[part]
    other = b64(answer_proof(KAUTH, mac(KAUTH, request), **parts))
    gateway.spoil = lambda _: [other]
    gateway._act = lambda *_: (200, "application/json", b"{}")
    assert not phone.send("transactions.pending", request).proved_under(KAUTH)


def test_a_proved_refusal_carries_its_code(gateway, phone):
    gateway.refusal = (409, "transaction_settled")
    with pytest.raises(Refused) as raised:
        phone.pending()
    assert (raised.value.status, raised.value.code) == (409, "transaction_settled")


def test_an_unproved_refusal_is_a_network_failure(gateway, phone):
    gateway.refusal = (409, "transaction_settled")
    gateway.spoil = lambda _: []
    with pytest.raises(NetworkFailure):
        phone.pending()


def test_a_gateway_out_of_reach_is_a_network_failure(phone):
    phone.line.base = "http://127.0.0.1:9"
    with pytest.raises(NetworkFailure):
        phone.pending()


def test_tests_can_alter_every_part_of_a_request(gateway, phone):
    phone.request("transactions.get", {"x": 1}, keyset="ks_2", nonce=REMOVED, extra=True)
    envelope = gateway.requests[-1]
    assert envelope["keyset"] == "ks_2"
    assert envelope["extra"] is True
    assert "nonce" not in envelope
    raw = phone.envelope("transactions.get", {})
    assert phone.send("transactions.get", raw, authcode=bytes(32)).status == 401
    assert phone.send("transactions.get", raw, headers={}).status == 401
    assert gateway.raw[-1] == raw


def stored(gateway, directory, **more):
    store = PhoneStore(directory / "phone")
    phone = Phone.enrol(
        package_tlv(gateway.url, **more),
        activation_code=SECRET,
        store=store,
        password="correct horse",
        iterations=ITERATIONS,
    )
    with phone:
        phone.register()
    return store


def test_a_wrong_password_is_found_out_by_the_gateway_alone(gateway, tmp_path):
    store = stored(gateway, tmp_path)
    with Phone.open(store, "correct horse") as right:
        assert right.pending()
    with Phone.open(store, "battery staple") as wrong, pytest.raises(NotRecognised):
        wrong.pending()


def test_registration_can_be_repeated_after_a_lost_answer(gateway, tmp_path):
    store = PhoneStore(tmp_path / "phone")
    gateway.spoil = lambda _: []
    with Phone.enrol(
        package_tlv(gateway.url), secret=SECRET, store=store, password="secret!", iterations=ITERATIONS
    ) as phone:
        with pytest.raises(NetworkFailure):
            phone.register()
        first = last_body(gateway)
    gateway.spoil = lambda proofs: proofs
    with Phone.open(store, "secret!") as phone:
        phone.register()
    assert {name: first[name] for name in ("kpublic", "fingerprint", "package")} == {
        name: last_body(gateway)[name] for name in ("kpublic", "fingerprint", "package")
    }
    with Phone.open(store, "secret!") as phone:
        assert phone.account.registered


def test_registering_does_not_encrypt_the_keys_a_second_time(gateway, tmp_path):
    store = PhoneStore(tmp_path / "phone")
    with Phone.enrol(
        package_tlv(gateway.url), secret=SECRET, store=store, password="secret!", iterations=ITERATIONS
    ) as phone:
        before = store.load("account")[1]
        phone.register()
    assert store.load("account")[1] == before


def test_a_weak_password_is_refused_and_nothing_is_stored(gateway, tmp_path):
    store = PhoneStore(tmp_path / "phone")
    for password in ("12345", None):
        with pytest.raises(PhoneError):
            Phone.enrol(package_tlv(gateway.url), secret=SECRET, store=store, password=password)
    assert not store.exists("account")
    with pytest.raises(StoreDamaged):
        Phone.open(store, "12345")


def test_an_expired_package_is_refused(gateway):
    with pytest.raises(PhoneError):
        Phone.enrol(package_tlv(gateway.url, valid=timedelta(seconds=-1)), secret=SECRET)


@pytest.mark.parametrize("url", ["http://gateway.example", "ftp://127.0.0.1", "gateway.example"])
def test_without_tls_the_phone_talks_to_this_machine_only(url):
    with pytest.raises(PhoneError):
        Phone.enrol(package_tlv(url), secret=SECRET)


def test_a_pin_forbids_plain_http():
    with pytest.raises(PhoneError):
        Phone.enrol(package_tlv("http://127.0.0.1:1", pin=bytes(32)), secret=SECRET)


@pytest.fixture(scope="module")
def authorities():
    return [trustme.CA(), trustme.CA()]


def pin_of(authority):
    return spki_digest(ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode()))


@pytest.fixture
def tls_gateway(authorities):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authorities[0].issue_cert("localhost").configure_cert(context)
    with StandInGateway(tls=context, host="localhost") as running:
        yield running


def over_tls(gateway, *trusted, pin=None, clock=None):
    pem = "".join(authority.cert_pem.bytes().decode() for authority in trusted)
    more = {} if clock is None else {"clock": clock}
    return Phone.enrol(package_tlv(gateway.url, pin=pin), secret=SECRET, ca_pem=pem, **more)


def test_the_phone_accepts_the_authority_it_was_given(tls_gateway, authorities):
    with over_tls(tls_gateway, authorities[0]) as phone:
        assert phone.pending()


def test_the_phone_accepts_the_pinned_authority(tls_gateway, authorities):
    with over_tls(tls_gateway, *authorities, pin=pin_of(authorities[0])) as phone:
        assert phone.pending()


def test_a_trusted_authority_other_than_the_pinned_one_is_refused(tls_gateway, authorities):
    with over_tls(tls_gateway, *authorities, pin=pin_of(authorities[1])) as phone:
        with pytest.raises(NetworkFailure):
            phone.pending()
    assert not tls_gateway.raw


def test_a_pin_that_no_known_authority_has_is_refused(tls_gateway, authorities):
    with pytest.raises(NetworkFailure):
        over_tls(tls_gateway, authorities[0], pin=bytes(32))


def test_an_unknown_authority_is_refused(tls_gateway, authorities):
    with over_tls(tls_gateway, authorities[1]) as phone, pytest.raises(NetworkFailure):
        phone.pending()


def slow_clock(hours):
    return lambda: datetime.now(UTC) - timedelta(hours=hours)


def test_the_phone_follows_the_date_of_a_tls_answer(tls_gateway, authorities):
    with over_tls(tls_gateway, authorities[0], clock=slow_clock(5)) as phone:
        tls_gateway.refuse_authcodes = 1
        assert phone.pending()
        assert abs(phone.now() - datetime.now(UTC)) < timedelta(seconds=10)


def test_the_phone_follows_no_date_further_than_a_day(tls_gateway, authorities):
    with over_tls(tls_gateway, authorities[0], clock=slow_clock(25)) as phone:
        tls_gateway.refuse_authcodes = 1
        with pytest.raises(NotRecognised):
            phone.pending()
        assert phone.offset == timedelta(0)


def test_the_phone_follows_no_date_without_tls(gateway, phone):
    gateway.date = format_datetime(datetime.now(UTC) + timedelta(hours=5), usegmt=True)
    gateway.refuse_authcodes = 1
    with pytest.raises(NotRecognised):
        phone.pending()
    assert phone.offset == timedelta(0)
