"""Do Firebase and Apple take our pushes, and is what they answer understood?"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.rules.push import PushProvider
from gateway.settings import Settings
from gateway.worker.push.configured import make_providers
from gateway.worker.pushes import Waker
from tests.counterparts.push_apns import ApnsService, reason
from tests.counterparts.push_fcm import FcmService, failure
from tests.counterparts.push_server import Asked, Refused
from tests.gateways import Authority
from tests.scenarios.bench import Bench, run
from tests.worker.conftest import UseBench
from tests.worker.push_bench import addresses, enrol, push_events, settings_for, waiting, wake

FCM, APNS = PushProvider.FCM, PushProvider.APNS


@pytest.fixture
def bench(bench_for: UseBench) -> Iterator[Bench]:
    with bench_for("https://bank.example/") as made:
        yield made


@pytest.fixture
def fcm(authority: Authority, bench: Bench) -> Iterator[FcmService]:
    with FcmService(authority.chain_file, authority.key_file, bench.clock.now) as made:
        yield made


@pytest.fixture
def apns(authority: Authority, bench: Bench) -> Iterator[ApnsService]:
    with ApnsService(authority.chain_file, authority.key_file, bench.clock.now) as made:
        yield made


@pytest.fixture
def settings(tmp_path: Path, authority: Authority, fcm: FcmService, apns: ApnsService) -> Settings:
    return settings_for(tmp_path, authority, fcm, apns)


def _ask_and_wake(bench: Bench, settings: Settings, times: int = 1) -> None:
    """Have anna's phone woken so many times by one worker."""

    async def work() -> None:
        waker = Waker(bench.ctx, make_providers(settings, bench.clock), 20)
        for _ in range(times):
            await bench.ask_to_confirm("anna")
            await waker.start_due()
            await waker.tries.finish()
        await waker.close()

    run(work())


def test_an_android_phone_is_woken_and_told_nothing_but_that_something_waits(
    bench: Bench, fcm: FcmService, settings: Settings
):
    token = fcm.install()
    enrol(bench, "anna", FCM, token)
    run(bench.ask_to_confirm("anna", expires_in_seconds=600))
    wake(bench, settings)
    android = {"collapse_key": "waiting", "priority": "HIGH", "ttl": "600s"}
    assert fcm.messages == [{"token": token, "data": {"waiting": "true"}, "android": android}]
    assert waiting(bench) == []


def test_an_iphone_is_woken_and_told_nothing_but_that_something_waits(
    bench: Bench, apns: ApnsService, settings: Settings
):
    token = apns.install()
    enrol(bench, "anna", APNS, token)
    run(bench.ask_to_confirm("anna", expires_in_seconds=600))
    wake(bench, settings)
    (asked,) = apns.asked
    assert (asked.version, asked.status, asked.path) == ("2", 200, f"/3/device/{token}")
    assert json.loads(asked.body) == {
        "aps": {"alert": {"loc-key": "COUNTERSIGN_WAITING"}, "sound": "default"}
    }
    assert asked.headers["apns-expiration"] == str(int(bench.clock.now().timestamp()) + 600)
    assert asked.headers["apns-collapse-id"] == "waiting"
    assert waiting(bench) == []


def test_one_access_token_serves_many_pushes_until_shortly_before_its_end(
    bench: Bench, fcm: FcmService, settings: Settings
):
    enrol(bench, "anna", FCM, fcm.install())

    async def work() -> None:
        waker = Waker(bench.ctx, make_providers(settings, bench.clock), 20)
        for minutes in (0, 30, 24, 2):  # the token ends after an hour; at 56 minutes it is renewed
            bench.clock.move(minutes=minutes)
            await bench.ask_to_confirm("anna")
            await waker.start_due()
            await waker.tries.finish()
        await waker.close()

    run(work())
    paths = ["token" if asked.path == "/token" else "send" for asked in fcm.asked]
    assert paths == ["token", "send", "send", "send", "token", "send"]
    assert len(fcm.messages) == 4


def test_one_connection_and_one_provider_token_serve_many_pushes_to_iphones(
    bench: Bench, apns: ApnsService, settings: Settings
):
    enrol(bench, "anna", APNS, apns.install())

    async def work() -> None:
        waker = Waker(bench.ctx, make_providers(settings, bench.clock), 20)
        for minutes in (0, 30, 19, 2):
            bench.clock.move(minutes=minutes)
            await bench.ask_to_confirm("anna")
            await waker.start_due()
            await waker.tries.finish()
        await waker.close()

    run(work())
    assert [asked.status for asked in apns.asked] == [200] * 4
    assert len(apns.provider_tokens) == 2


def test_an_app_that_was_removed_from_an_android_phone_is_forgotten(
    bench: Bench, fcm: FcmService, settings: Settings
):
    enrol(bench, "anna", FCM, "a token of nobody")
    _ask_and_wake(bench, settings)
    assert addresses(bench) == [(None, None)]
    assert push_events(bench) == [("dropped", "UNREGISTERED")]
    assert waiting(bench) == []


@pytest.mark.parametrize("refused", [reason(410, "Unregistered"), reason(400, "BadDeviceToken")], ids=str)
def test_an_app_that_was_removed_from_an_iphone_is_forgotten(
    bench: Bench, apns: ApnsService, settings: Settings, refused: Refused
):
    enrol(bench, "anna", APNS, apns.install())
    apns.refusals.append(refused)
    _ask_and_wake(bench, settings)
    assert addresses(bench) == [(None, None)]
    assert push_events(bench) == [("dropped", refused.body["reason"])]


@pytest.mark.parametrize("token", ["../../1/apps", "a?b", "a" * 15, "zz" * 32, "ab" * 101])
def test_what_is_no_device_token_never_gets_into_a_path(
    bench: Bench, apns: ApnsService, settings: Settings, token: str
):
    enrol(bench, "anna", APNS, token)
    _ask_and_wake(bench, settings)
    assert apns.asked == []
    assert push_events(bench) == [("dropped", "not a device token")]


@pytest.mark.parametrize(
    ("refused", "left"),
    [
        (failure(404, "NOT_FOUND"), [(1, 1)]),  # the project, not the phone
        (failure(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"), [(1, 1)]),
        (failure(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), [(1, 1)]),
        (failure(503, "UNAVAILABLE", "UNAVAILABLE"), [(1, 1)]),
        (Refused(500, {"error": "no object"}), [(1, 1)]),
        (Refused(500, {"error": {"details": [7, {"@type": 7}], "status": "<b>"}}), [(1, 1)]),
        (failure(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"), []),
    ],
    ids=str,
)
def test_any_other_answer_of_firebase_keeps_the_address(
    bench: Bench, fcm: FcmService, settings: Settings, refused: Refused, left: list[tuple[int, int]]
):
    enrol(bench, "anna", FCM, token := fcm.install())
    fcm.tokens["known"] = float("inf")
    original = fcm.answer

    def answer(asked: Asked) -> tuple[int, dict[str, object], dict[str, str]]:
        if asked.path != "/token":
            raise refused
        return original(asked)

    fcm.answer = answer  # type: ignore[method-assign]
    _ask_and_wake(bench, settings)
    assert addresses(bench) == [(FCM, token)]
    assert waiting(bench) == left
    assert push_events(bench) == []


@pytest.mark.parametrize(
    ("refused", "left"),
    [
        (reason(429, "TooManyRequests"), [(1, 1)]),
        (reason(503, "ServiceUnavailable"), [(1, 1)]),
        (reason(403, "InvalidProviderToken"), [(1, 1)]),
        (reason(410, "SomethingNew"), [(1, 1)]),
        (reason(400, "DeviceTokenNotForTopic"), []),
        (Refused(500, {"reason": {"no": "text"}}), [(1, 1)]),
    ],
    ids=str,
)
def test_any_other_answer_of_apple_keeps_the_address(
    bench: Bench, apns: ApnsService, settings: Settings, refused: Refused, left: list[tuple[int, int]]
):
    enrol(bench, "anna", APNS, token := apns.install())
    apns.refusals.append(refused)
    _ask_and_wake(bench, settings)
    assert addresses(bench) == [(APNS, token)]
    assert waiting(bench) == left


def test_an_access_token_that_was_taken_back_is_asked_for_anew_at_the_next_try(
    bench: Bench, fcm: FcmService, settings: Settings
):
    enrol(bench, "anna", FCM, fcm.install())

    async def work() -> None:
        waker = Waker(bench.ctx, make_providers(settings, bench.clock), 20)
        for _ in range(2):
            await bench.ask_to_confirm("anna")
            await waker.start_due()
            await waker.tries.finish()
            fcm.tokens.clear()
        bench.clock.move(seconds=5)
        await waker.start_due()
        await waker.close()

    run(work())
    assert [asked.status for asked in fcm.asked] == [200, 200, 401, 200, 200]
    assert waiting(bench) == []


def test_where_the_token_service_refuses_the_account_the_phone_keeps_its_address(
    bench: Bench, fcm: FcmService, settings: Settings
):
    enrol(bench, "anna", FCM, fcm.install())
    fcm.refusals.append(Refused(400, {"error": "invalid_grant"}))
    _ask_and_wake(bench, settings)
    assert waiting(bench) == [(1, 1)]
    assert fcm.messages == []
