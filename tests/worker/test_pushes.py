"""Is each phone woken that can be, no longer than something waits for it, and never at the cost of callbacks?"""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.logs import configure_logs
from gateway.rules.policy import Policy
from gateway.rules.push import PushProvider
from gateway.rules.user import UserAction
from gateway.scenarios import housekeeping
from gateway.settings import Settings
from gateway.worker.loop import run_worker
from gateway.worker.posting import Post
from gateway.worker.push.configured import make_providers
from gateway.worker.pushes import Waker
from tests.counterparts.push_server import Refused
from tests.counterparts.push_web import WebPushService
from tests.gateways import Authority
from tests.scenarios.bench import Bench, run
from tests.worker.conftest import UseBench
from tests.worker.outbox import clear, put, states, until
from tests.worker.push_bench import addresses, enrol, push_events, settings_for, vapid_key, waiting, wake
from tests.worker.receivers import RawReceiver
from tests.worker.test_receivers import OK

WEB_PUSH = PushProvider.WEB_PUSH


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


def _phone(bench: Bench, service: WebPushService):
    browser, subscription = service.subscribe()
    return enrol(bench, "anna", WEB_PUSH, subscription), browser


@pytest.mark.parametrize("provider", ["none", "example", "WEB_PUSH"])
def test_a_phone_of_no_known_provider_is_not_woken(bench: Bench, provider: str):
    enrol(bench, "anna", provider, "x")
    run(bench.ask_to_confirm("anna"))
    assert waiting(bench) == []


def test_a_phone_without_an_address_is_not_woken(bench: Bench):
    run(bench.enrol("anna"))
    run(bench.ask_to_confirm("anna"))
    assert waiting(bench) == []


def test_an_application_whose_policy_is_against_it_wakes_nobody(bench: Bench, service: WebPushService):
    _phone(bench, service)
    application = bench.asker.application
    bench.asker = replace(bench.asker, application=replace(application, policy=Policy(push=False)))
    run(bench.ask_to_confirm("anna"))
    assert waiting(bench) == []


def test_a_phone_whose_keys_have_ended_or_run_out_is_not_woken(bench: Bench, service: WebPushService):
    old, _ = _phone(bench, service)
    _, subscription = service.subscribe()
    phone = bench.phone(run(bench.issue("anna")))
    body = phone.registration_body(push={"provider": "web_push", "identifier": subscription})
    run(bench.ask(phone, "keys.register", body))
    run(bench.ask_to_confirm("anna"))
    assert old.account.keyset != phone.account.keyset
    rows = bench.rows("SELECT k.id FROM pushes p JOIN keysets k ON k.device_id = p.device_id")
    assert [row.id for row in rows] == [phone.account.keyset]


def test_what_is_settled_before_the_push_goes_out_wakes_nobody(
    bench: Bench, service: WebPushService, settings: Settings
):
    phone, _ = _phone(bench, service)
    shown = run(bench.show(phone, run(bench.ask_to_confirm("anna"))))
    run(bench.approve(phone, shown))
    assert wake(bench, settings) == 1
    assert service.asked == []
    assert waiting(bench) == []


def test_a_phone_can_change_its_address_or_take_it_back(
    bench: Bench, service: WebPushService, settings: Settings
):
    phone, first = _phone(bench, service)
    second, subscription = service.subscribe()
    run(bench.ask_to_confirm("anna"))
    push = {"provider": "web_push", "identifier": subscription}
    run(bench.ask(phone, "devices.update", {"push": push}))
    wake(bench, settings)
    assert (first.read(), second.read()) == ([], ['{"waiting":true}'])
    run(bench.ask_to_confirm("anna"))
    run(bench.ask(phone, "devices.update", {"push": None}))
    assert wake(bench, settings) == 0
    bench.clock.move(hours=1)
    run(housekeeping.forget_old_marks(bench.ctx))
    assert waiting(bench) == []


def test_a_push_is_tried_again_with_growing_pauses_and_then_given_up(
    bench: Bench, service: WebPushService, settings: Settings
):
    _phone(bench, service)
    service.refusals += [Refused(503) for _ in range(9)]
    run(bench.ask_to_confirm("anna"))
    made = []
    for second in range(200):
        if wake(bench, settings):
            made.append(second)
        bench.clock.move(seconds=1)
    assert made == [0, 2, 12, 42, 162]
    assert waiting(bench) == []
    assert addresses(bench) != [(None, None)]


def test_a_push_is_not_tried_again_after_the_last_transaction_has_ended(
    bench: Bench, service: WebPushService, settings: Settings
):
    _phone(bench, service)
    service.refusals += [Refused(503) for _ in range(9)]
    run(bench.ask_to_confirm("anna", expires_in_seconds=30))
    for pause in (0, 2, 10):
        bench.clock.move(seconds=pause)
        wake(bench, settings)
    assert len(service.asked) == 3
    assert waiting(bench) == []  # the next try would be at 42 seconds


def test_a_service_that_asks_for_a_pause_gets_it_also_from_what_comes_next(
    bench: Bench, service: WebPushService, settings: Settings
):
    _, browser = _phone(bench, service)
    service.refusals.append(Refused(429, {}, {"retry-after": "60"}))
    run(bench.ask_to_confirm("anna"))
    wake(bench, settings)
    run(bench.ask_to_confirm("anna"))
    bench.clock.move(seconds=59)
    assert wake(bench, settings) == 0
    bench.clock.move(seconds=1)
    assert wake(bench, settings) == 1
    assert len(browser.read()) == 1


def test_a_transaction_that_comes_while_a_push_is_under_way_gets_one_of_its_own(
    bench: Bench, service: WebPushService, settings: Settings
):
    _phone(bench, service)
    run(bench.ask_to_confirm("anna"))
    service.holds = True

    async def work() -> None:
        waker = Waker(bench.ctx, make_providers(settings, bench.clock), 20)
        await waker.start_due()
        await bench.ask_to_confirm("anna")
        assert await waker.start_due() == 0  # one at a time
        service.holds = False
        await waker.tries.finish()
        assert await waker.start_due() == 1
        await waker.close()

    run(work())
    assert [asked.status for asked in service.asked] == [201, 201]
    assert waiting(bench) == []


def test_an_address_changed_while_the_old_one_proves_dead_is_kept_and_woken(
    bench: Bench, service: WebPushService, settings: Settings
):
    phone, old = _phone(bench, service)
    new, subscription = service.subscribe()
    service.unsubscribe(old)
    service.holds = True
    run(bench.ask_to_confirm("anna"))

    async def work() -> None:
        waker = Waker(bench.ctx, make_providers(settings, bench.clock), 20)
        await waker.start_due()
        push = {"provider": "web_push", "identifier": subscription}
        await bench.ask(phone, "devices.update", {"push": push})
        service.holds = False
        await waker.tries.finish()
        await waker.start_due()
        await waker.close()

    run(work())
    assert push_events(bench) == []
    assert new.read() == ['{"waiting":true}']


def test_a_worker_that_was_killed_is_followed_by_another(
    bench: Bench, service: WebPushService, settings: Settings
):
    _phone(bench, service)
    run(bench.ask_to_confirm("anna"))
    service.holds = True

    async def killed() -> None:
        waker = Waker(bench.ctx, make_providers(settings, bench.clock), 5)
        await waker.start_due()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await waker.tries.finish()

    run(killed())
    service.holds = False
    assert wake(bench, settings) == 0
    bench.clock.move(seconds=26)
    assert wake(bench, settings) == 1


def test_a_push_service_that_does_not_answer_holds_up_neither_callbacks_nor_the_worker(
    bench_for: UseBench, post: Post, tmp_path: Path, authority: Authority
):
    public = vapid_key(tmp_path)
    with (
        RawReceiver(OK) as receiver,
        bench_for(receiver.url) as bench,
        WebPushService(authority.chain_file, authority.key_file, public, bench.clock.now) as service,
    ):
        _phone(bench, service)
        clear(bench)
        service.holds = True
        run(bench.ask_to_confirm("anna"))

        async def work() -> None:
            stop = asyncio.Event()
            providers = make_providers(settings_for(tmp_path, authority), bench.clock)
            working = asyncio.ensure_future(run_worker(bench.ctx, post, providers, stop))
            await asyncio.to_thread(until, lambda: service.held)
            put(bench, "told")
            await asyncio.to_thread(until, lambda: states(bench)[0][1] == "delivered")
            assert service.asked == []
            service.holds = False
            stop.set()
            await asyncio.wait_for(working, 60)

        run(work())
        assert [asked.status for asked in service.asked] == [201]
        assert waiting(bench) == []


def test_deleting_a_user_forgets_where_its_phones_are_reached(bench: Bench, service: WebPushService):
    _phone(bench, service)
    run(bench.change("anna", UserAction.DELETE))
    assert addresses(bench) == [(None, None)]


def test_no_address_gets_into_log_or_events(
    bench: Bench,
    service: WebPushService,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    logs_put_back: None,
):
    browser, subscription = service.subscribe()
    enrol(bench, "anna", WEB_PUSH, subscription)
    configure_logs("debug")
    for trouble in ("refused", "private", "gone"):
        run(bench.ask_to_confirm("anna"))
        if trouble == "refused":
            service.refusals.append(Refused(500, {"echo": subscription}))
        if trouble == "gone":
            service.unsubscribe(browser)
        wake(bench, settings.model_copy(update={"push_private_addresses": trouble != "private"}))
        bench.clock.move(minutes=3)
    logged = capsys.readouterr().err
    assert logged.count("phone not woken") == 3
    told = logged + str([tuple(row) for row in bench.rows("SELECT * FROM events")])
    secrets = json.loads(subscription)
    for secret in (
        secrets["endpoint"].rpartition("/")[2],
        secrets["keys"]["p256dh"],
        secrets["keys"]["auth"],
    ):
        assert secret not in told
