"""Can an application change the secret of its callbacks without losing one, and is the old one over after a day?"""

import asyncio

import pytest

from gateway import assembly
from gateway.refusals import Refusal
from gateway.scenarios.deliveries import rotate_webhook_secret, webhook_secret
from gateway.settings import Settings
from gateway.wire.callback import format_secret
from gateway.worker.posting import Post
from hsm.device import Device
from hsm.errors import DeviceError
from tests.counterparts.callback_receiver import CallbackReceiver
from tests.scenarios.bench import ORIGIN, Bench, run
from tests.worker.conftest import UseBench
from tests.worker.outbox import deliver_due, put


def _rotate(bench: Bench) -> str:
    secret, _ = run(rotate_webhook_secret(bench.ctx, bench.present(), ORIGIN))
    return secret


def _seals(bench: Bench, post: Post, receiver: CallbackReceiver, *secrets: str) -> list[bool]:
    """Say which of the secrets a callback is sealed with now, each trusted alone."""
    accepted = []
    receiver.seals.clock = bench.clock.now
    for secret in secrets:
        receiver.seals.secrets = [secret]
        before = len(receiver.received)
        put(bench, "x")
        assert run(deliver_due(bench.ctx, post)) == 1
        accepted.append(len(receiver.received) > before)
        bench.write("DELETE FROM deliveries")
    return accepted


def test_for_24_hours_callbacks_carry_the_seals_of_both_secrets_the_new_one_first(
    bench_for: UseBench, post: Post
):
    with CallbackReceiver() as receiver, bench_for(receiver.url) as bench:
        old = format_secret(webhook_secret(bench.ctx, bench.asker.application))
        new = _rotate(bench)
        assert new != old
        assert _seals(bench, post, receiver, old, new) == [True, True]
        first, second = receiver.arrivals[-1].headers["webhook-signature"].split(" ")
        assert first != second
        bench.clock.move(hours=24, seconds=-1)
        assert _seals(bench, post, receiver, old, new) == [True, True]
        bench.clock.move(seconds=1)
        assert _seals(bench, post, receiver, old, new) == [False, True]


def test_after_two_changes_in_a_day_the_first_secret_is_over(bench_for: UseBench, post: Post):
    with CallbackReceiver() as receiver, bench_for(receiver.url) as bench:
        first = format_secret(webhook_secret(bench.ctx, bench.asker.application))
        second, third = _rotate(bench), _rotate(bench)
        assert _seals(bench, post, receiver, first, second, third) == [False, True, True]


def test_without_the_device_the_secret_stays_the_one_that_is_known(
    bench_for: UseBench, post: Post, token_uri: str
):
    with CallbackReceiver() as receiver, bench_for(receiver.url) as bench:
        old = format_secret(webhook_secret(bench.ctx, bench.asker.application))
        lost = Device.open(token_uri)
        assembly.create_house_keys(lost)
        settings = Settings(database_connections=2, token_sessions=2)
        with assembly.make_context(settings, bench.ctx.database, lost, bench.clock) as ctx:
            lost.close()
            with pytest.raises(DeviceError):
                run(rotate_webhook_secret(ctx, bench.asker, ORIGIN))
        assert bench.present().application.webhook_version == 1
        assert bench.rows("SELECT * FROM events WHERE type = 'webhook.secret_shown'") == []
        assert _seals(bench, post, receiver, old) == [True]


def test_of_two_changes_at_once_one_is_made_and_shown(bench_for: UseBench):
    with bench_for("https://bank.example/") as bench:

        async def both() -> list[object]:
            asked = (rotate_webhook_secret(bench.ctx, bench.asker, ORIGIN) for _ in range(2))
            return await asyncio.gather(*asked, return_exceptions=True)

        refused, shown = sorted(run(both()), key=lambda each: isinstance(each, tuple))
        assert isinstance(refused, Refusal)
        assert refused.problem.code == "concurrent_change"
        assert shown == (format_secret(webhook_secret(bench.ctx, bench.present().application)), 2)
