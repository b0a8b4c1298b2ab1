"""The phone talks over TLS to the pinned authority only, and follows the clock of nobody else."""

import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import trustme

from tests.counterparts.phone import Phone
from tests.counterparts.phone_line import (
    Clock,
    NetworkFailure,
    NotRecognised,
    PhoneError,
    spki_digest,
)
from tests.counterparts.phone_tlv import Malformed
from tests.counterparts.stand_in_gateway import (
    SECRET,
    StandInGateway,
    package_tlv,
)


@pytest.fixture
def gateway():
    with StandInGateway() as running:
        yield running


@pytest.fixture
def phone(gateway: StandInGateway):
    with Phone.enrol(package_tlv(gateway.url), activation_code=SECRET) as enrolled:
        yield enrolled


@pytest.mark.parametrize("url", ["http://gateway.example", "ftp://127.0.0.1", "gateway.example"])
def test_without_tls_the_phone_talks_to_this_machine_only(url: str):
    with pytest.raises((PhoneError, Malformed)):
        Phone.enrol(package_tlv(url), secret=SECRET)


def test_a_pin_forbids_plain_http():
    with pytest.raises(PhoneError):
        Phone.enrol(package_tlv("http://127.0.0.1:1", pin=bytes(32)), secret=SECRET)


@pytest.fixture(scope="module")
def authorities():
    return [trustme.CA(), trustme.CA()]


def pin_of(authority: trustme.CA):
    return spki_digest(ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode()))


@pytest.fixture
def tls_gateway(authorities: list[trustme.CA]):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authorities[0].issue_cert("localhost").configure_cert(context)
    with StandInGateway(tls=context, host="localhost") as running:
        yield running


def over_tls(
    gateway: StandInGateway, *trusted: trustme.CA, pin: bytes | None = None, clock: Clock | None = None
):
    pem = "".join(authority.cert_pem.bytes().decode() for authority in trusted)
    more = {} if clock is None else {"clock": clock}
    return Phone.enrol(package_tlv(gateway.url, pin=pin), secret=SECRET, ca_pem=pem, **more)


def test_the_phone_accepts_the_authority_it_was_given(
    tls_gateway: StandInGateway, authorities: list[trustme.CA]
):
    with over_tls(tls_gateway, authorities[0]) as phone:
        assert phone.pending()


def test_the_phone_accepts_the_pinned_authority(tls_gateway: StandInGateway, authorities: list[trustme.CA]):
    with over_tls(tls_gateway, *authorities, pin=pin_of(authorities[0])) as phone:
        assert phone.pending()


def test_a_trusted_authority_other_than_the_pinned_one_is_refused(
    tls_gateway: StandInGateway, authorities: list[trustme.CA]
):
    with (
        over_tls(tls_gateway, *authorities, pin=pin_of(authorities[1])) as phone,
        pytest.raises(NetworkFailure),
    ):
        phone.pending()
    assert not tls_gateway.raw


def test_a_pin_that_no_known_authority_has_is_refused(
    tls_gateway: StandInGateway, authorities: list[trustme.CA]
):
    with pytest.raises(PhoneError):
        over_tls(tls_gateway, authorities[0], pin=bytes(32))


def test_an_unknown_authority_is_refused(tls_gateway: StandInGateway, authorities: list[trustme.CA]):
    with over_tls(tls_gateway, authorities[1]) as phone, pytest.raises(NetworkFailure):
        phone.pending()


def slow_clock(hours: float):
    return lambda: datetime.now(UTC) - timedelta(hours=hours)


def test_the_phone_follows_the_date_of_a_tls_answer(
    tls_gateway: StandInGateway, authorities: list[trustme.CA]
):
    with over_tls(tls_gateway, authorities[0], clock=slow_clock(5)) as phone:
        tls_gateway.refuse_authcodes = 1
        assert phone.pending()
        assert abs(phone.now() - datetime.now(UTC)) < timedelta(seconds=10)


def test_the_phone_follows_no_date_further_than_a_day(
    tls_gateway: StandInGateway, authorities: list[trustme.CA]
):
    with over_tls(tls_gateway, authorities[0], clock=slow_clock(25)) as phone:
        tls_gateway.refuse_authcodes = 1
        with pytest.raises(NotRecognised):
            phone.pending()
        assert phone.offset == timedelta(0)


def test_the_phone_follows_no_date_without_tls(gateway: StandInGateway, phone: Phone):
    gateway.date = format_datetime(datetime.now(UTC) + timedelta(hours=5), usegmt=True)
    gateway.refuse_authcodes = 1
    with pytest.raises(NotRecognised):
        phone.pending()
    assert phone.offset == timedelta(0)
