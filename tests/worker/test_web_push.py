"""Does Web Push say what the RFCs say, and does a browser with its push service understand it?"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.rules.push import PushProvider
from gateway.settings import Settings
from gateway.worker.push.encryption import encrypt
from tests.counterparts.push_server import Refused, unb64url
from tests.counterparts.push_web import Browser, WebPushService, decrypt
from tests.gateways import Authority
from tests.scenarios.bench import Bench, run
from tests.worker.conftest import UseBench
from tests.worker.push_bench import addresses, enrol, push_events, settings_for, vapid_key, waiting, wake

# RFC 8291, section 5 and appendix A.
PLAINTEXT = b"When I grow up, I want to be a watermelon"
SENDER = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
RECEIVER = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
AUTH, SALT = "BTBZMqHH6r4Tts7J_aSIgg", "DGv6ra1nlYgDCS1FRnbzlw"
MESSAGE = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_"
    "yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)
WEB_PUSH = PushProvider.WEB_PUSH


def _key(scalar: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(unb64url(scalar), "big"), ec.SECP256R1())


def test_the_example_of_the_rfc_gives_its_bytes():
    receiver = _key(RECEIVER).public_key()
    made = encrypt(PLAINTEXT, receiver, unb64url(AUTH), sender=_key(SENDER), salt=unb64url(SALT))
    assert made == unb64url(MESSAGE)


def test_the_browser_of_the_tests_reads_the_example_of_the_rfc():
    assert decrypt(unb64url(MESSAGE), _key(RECEIVER), unb64url(AUTH)) == PLAINTEXT


def test_no_two_messages_share_salt_or_key():
    browser = Browser.make()
    first, second = (encrypt(b"x", browser.key.public_key(), browser.auth) for _ in range(2))
    assert first[:16] != second[:16]
    assert first[21:86] != second[21:86]
    assert decrypt(first, browser.key, browser.auth) == decrypt(second, browser.key, browser.auth) == b"x"


@pytest.fixture
def bench(bench_for: UseBench) -> Iterator[Bench]:
    with bench_for("https://bank.example/") as made:
        yield made


@pytest.fixture
def service(tmp_path: Path, authority: Authority, bench: Bench) -> Iterator[WebPushService]:
    public = vapid_key(tmp_path)
    with WebPushService(authority.chain_file, authority.key_file, public, bench.clock.now) as made:
        yield made


@pytest.fixture
def settings(tmp_path: Path, authority: Authority, service: WebPushService) -> Settings:
    return settings_for(tmp_path, authority)


def test_a_browser_is_woken_and_told_nothing_but_that_something_waits(
    bench: Bench, service: WebPushService, settings: Settings
):
    browser, subscription = service.subscribe()
    name = "anna-maria-of-the-web"  # longer than what a key may have in it by chance
    enrol(bench, name, WEB_PUSH, subscription)
    transaction = run(bench.ask_to_confirm(name, expires_in_seconds=600))
    bench.clock.move(seconds=1)
    assert wake(bench, settings) == 1
    (asked,) = service.asked
    assert (asked.status, asked.headers["ttl"], asked.headers["urgency"]) == (201, "599", "high")
    assert browser.read() == ['{"waiting":true}']
    for secret in (name, transaction, bench.asker.application.id, "Payment"):
        assert secret not in str(asked.headers)
    assert waiting(bench) == []


def test_several_transactions_are_one_push_that_lasts_as_long_as_the_last_of_them(
    bench: Bench, service: WebPushService, settings: Settings
):
    browser, subscription = service.subscribe()
    enrol(bench, "anna", WEB_PUSH, subscription)
    for seconds in (60, 500, 100):
        run(bench.ask_to_confirm("anna", expires_in_seconds=seconds))
    assert waiting(bench) == [(3, 0)]
    assert wake(bench, settings) == 1
    run(bench.ask_to_confirm("anna", expires_in_seconds=30))
    assert wake(bench, settings) == 1
    assert [asked.headers["ttl"] for asked in service.asked] == ["500", "500"]
    assert len(browser.read()) == 1  # the service put the second in the place of the first


@pytest.mark.parametrize("status", [404, 410])
def test_a_subscription_that_is_gone_is_forgotten_with_an_event(
    bench: Bench, service: WebPushService, settings: Settings, status: int
):
    browser, subscription = service.subscribe()
    enrol(bench, "anna", WEB_PUSH, subscription)
    service.unsubscribe(browser)
    service.refusals += [] if status == 410 else [Refused(404)]
    run(bench.ask_to_confirm("anna"))
    wake(bench, settings)
    assert addresses(bench) == [(None, None)]
    assert push_events(bench) == [("dropped", f"answered with status {status}")]
    assert waiting(bench) == []
    assert bench.unbound() == []
    run(bench.ask_to_confirm("anna"))
    assert waiting(bench) == []


@pytest.mark.parametrize(
    "address",
    [
        "",
        "{",
        "[]",
        "[" * 4000,
        "{}",
        '{"endpoint": 7, "keys": {}}',
        json.dumps({"endpoint": "https://push.example/x", "keys": {"p256dh": "BA", "auth": "AA"}}),
        json.dumps({"endpoint": "http://push.example/x", "keys": {"p256dh": "@point", "auth": "@auth"}}),
        json.dumps({"endpoint": "https://me@push.example/x", "keys": {"p256dh": "@point", "auth": "@auth"}}),
        json.dumps({"endpoint": "https://push.example:x/", "keys": {"p256dh": "@point", "auth": "@auth"}}),
        json.dumps({"endpoint": "https://push.example/", "keys": {"p256dh": "@point", "auth": "AA"}}),
        json.dumps({"endpoint": "https://push.example/", "keys": {"p256dh": "@point", "auth": None}}),
    ],
)
def test_what_is_no_subscription_is_forgotten_at_the_first_try(
    bench: Bench, service: WebPushService, settings: Settings, address: str
):
    _, subscription = service.subscribe()
    keys = json.loads(subscription)["keys"]
    enrol(bench, "anna", WEB_PUSH, "to be replaced")
    text = address.replace("@point", keys["p256dh"]).replace("@auth", keys["auth"])
    bench.write("UPDATE devices SET push_id = :text", text=text)
    run(bench.ask_to_confirm("anna"))
    wake(bench, settings)
    assert push_events(bench) == [("dropped", "not a subscription")]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::1]", "[::ffff:127.0.0.1]"])
def test_an_address_that_leads_into_the_inner_network_is_not_called(
    bench: Bench, service: WebPushService, settings: Settings, host: str
):
    _, subscription = service.subscribe()
    enrol(bench, "anna", WEB_PUSH, subscription.replace("127.0.0.1", host))
    run(bench.ask_to_confirm("anna"))
    wake(bench, settings.model_copy(update={"push_private_addresses": False}))
    assert service.asked == []
    assert waiting(bench) == [(1, 1)]


@pytest.mark.parametrize(("hosts", "called"), [("0.0.1", 1), ("push.example, 127.0.0.1", 1), ("7.0.0.1", 0)])
def test_only_the_push_services_of_the_settings_are_called(
    bench: Bench, service: WebPushService, settings: Settings, hosts: str, called: int
):
    _, subscription = service.subscribe()
    enrol(bench, "anna", WEB_PUSH, subscription)
    run(bench.ask_to_confirm("anna"))
    wake(bench, settings.model_copy(update={"push_web_hosts": hosts}))
    assert len(service.asked) == called
    assert waiting(bench) == []  # where it is not called, trying again is of no use


def test_a_push_service_that_no_authority_vouches_for_gets_nothing(
    bench: Bench, service: WebPushService, settings: Settings
):
    _, subscription = service.subscribe()
    enrol(bench, "anna", WEB_PUSH, subscription)
    run(bench.ask_to_confirm("anna"))
    wake(bench, settings.model_copy(update={"push_ca_file": None}))
    assert service.asked == []
    assert waiting(bench) == [(1, 1)]


def test_a_redirect_is_not_followed(bench: Bench, service: WebPushService, settings: Settings):
    _, subscription = service.subscribe()
    enrol(bench, "anna", WEB_PUSH, subscription)
    run(bench.ask_to_confirm("anna"))
    service.refusals.append(Refused(307, headers={"location": f"{service.url}/elsewhere"}))
    wake(bench, settings)
    assert [asked.path for asked in service.asked] == [
        json.loads(subscription)["endpoint"].removeprefix(service.url)
    ]


def test_a_token_for_one_service_is_of_no_use_at_another(
    bench: Bench, service: WebPushService, settings: Settings, authority: Authority, tmp_path: Path
):
    _, subscription = service.subscribe()
    enrol(bench, "anna", WEB_PUSH, subscription)
    run(bench.ask_to_confirm("anna"))
    wake(bench, settings)
    stolen = service.asked[0]
    key = stolen.headers["authorization"].partition("k=")[2]
    with WebPushService(authority.chain_file, authority.key_file, key, bench.clock.now) as other:
        with pytest.raises(Refused) as refused:
            other.answer(stolen)
        assert refused.value.status == 403
