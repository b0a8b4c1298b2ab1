"""A stored phone loses no keys: not by a lost answer, not by a wrong password, not by a renewal."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.counterparts.phone import Phone
from tests.counterparts.phone_keys import PhoneStore, StoreDamaged
from tests.counterparts.phone_line import (
    NetworkFailure,
    NotRecognised,
    PhoneError,
)
from tests.counterparts.stand_in_gateway import (
    SECRET,
    StandInGateway,
    as_sent,
    package_tlv,
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


def last_body(gateway: StandInGateway) -> dict[str, Any]:
    body = gateway.requests[-1]["body"]
    assert isinstance(body, dict)
    return body


def stored(gateway: StandInGateway, directory: Path, **more: Any) -> PhoneStore:
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


def test_a_wrong_password_is_found_out_by_the_gateway_alone(gateway: StandInGateway, tmp_path: Path):
    store = stored(gateway, tmp_path)
    with Phone.open(store, "correct horse") as right:
        assert right.pending()
    with Phone.open(store, "battery staple") as wrong, pytest.raises(NotRecognised):
        wrong.pending()


def test_registration_can_be_repeated_after_a_lost_answer(gateway: StandInGateway, tmp_path: Path):
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


def test_registering_does_not_encrypt_the_keys_a_second_time(gateway: StandInGateway, tmp_path: Path):
    store = PhoneStore(tmp_path / "phone")
    with Phone.enrol(
        package_tlv(gateway.url), secret=SECRET, store=store, password="secret!", iterations=ITERATIONS
    ) as phone:
        before = store.load("account")[1]
        phone.register()
    assert store.load("account")[1] == before


def actions(gateway: StandInGateway) -> list[tuple[str, str]]:
    return [(request["keyset"], request["action"]) for request in gateway.requests]


def test_a_renewal_replaces_keys_and_account(gateway: StandInGateway, tmp_path: Path):
    store = stored(gateway, tmp_path)
    with Phone.open(store, "correct horse") as phone:
        before = phone.account
        phone.renew("correct horse", iterations=ITERATIONS)
        assert phone.pending()
        assert phone.account.fingerprint == before.fingerprint
    assert actions(gateway)[1:] == [
        ("ks_1", "keys.renew"),
        ("ks_2", "keys.register"),
        ("ks_2", "transactions.pending"),
    ]
    assert not store.exists("next")
    with Phone.open(store, "correct horse") as phone:
        assert phone.account.keyset == "ks_2"
        assert phone.account.registered
        assert phone.pending()


def interrupted(gateway: StandInGateway, directory: Path) -> PhoneStore:
    """A store whose renewal has lost its last answer."""
    store = stored(gateway, directory)
    with Phone.open(store, "correct horse") as phone:
        gateway.spoil = lambda proofs: [] if gateway.requests[-1]["keyset"] == "ks_2" else proofs
        with pytest.raises(NetworkFailure):
            phone.renew("correct horse", iterations=ITERATIONS)
        assert phone.account.keyset == "ks_1"
        assert phone.pending()
    gateway.spoil = as_sent
    return store


def test_an_interrupted_renewal_keeps_the_old_keys_and_can_be_finished(
    gateway: StandInGateway, tmp_path: Path
):
    store = interrupted(gateway, tmp_path)
    with Phone.open(store, "correct horse") as phone:
        del gateway.keys["ks_1"]
        assert phone.resume_renewal("correct horse")
        assert phone.pending()
        assert not phone.resume_renewal("correct horse")


def test_a_wrong_password_gives_up_neither_old_nor_new_keys(gateway: StandInGateway, tmp_path: Path):
    store = interrupted(gateway, tmp_path)
    with Phone.open(store, "battery staple") as phone, pytest.raises(NotRecognised):
        phone.resume_renewal("battery staple")
    assert store.exists("next")


def test_new_keys_that_have_lapsed_are_given_up_while_the_old_ones_serve(
    gateway: StandInGateway, tmp_path: Path
):
    store = interrupted(gateway, tmp_path)
    del gateway.keys["ks_2"]
    with Phone.open(store, "correct horse") as phone:
        assert not phone.resume_renewal("correct horse")
        assert phone.pending()
    assert not store.exists("next")


def test_a_weak_password_is_refused_and_nothing_is_stored(gateway: StandInGateway, tmp_path: Path):
    store = PhoneStore(tmp_path / "phone")
    for password in ("12345", None):
        with pytest.raises(PhoneError):
            Phone.enrol(package_tlv(gateway.url), secret=SECRET, store=store, password=password)
    assert not store.exists("account")
    with pytest.raises(StoreDamaged):
        Phone.open(store, "12345")


def test_an_expired_package_is_refused(gateway: StandInGateway):
    with pytest.raises(PhoneError):
        Phone.enrol(package_tlv(gateway.url, valid_until=datetime.now(UTC)), secret=SECRET)
