"""Is a callback tried until it arrives: under one id, in order, with pauses, and with an end?"""

import asyncio
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from gateway.rules.delivery import pause_after
from gateway.scenarios.deliveries import webhook_secret
from gateway.scenarios.operating import set_callback
from gateway.wire.callback import format_secret
from gateway.worker.posting import Post
from tests.counterparts.callback_receiver import CallbackReceiver
from tests.scenarios.bench import Bench, run
from tests.store.databases import url_of
from tests.worker.conftest import UseBench
from tests.worker.outbox import deliver_due, event_types, put, put_in_transaction, state, states

ROOT = Path(__file__).parents[2]


def _receiver(bench: Bench, receiver: CallbackReceiver) -> CallbackReceiver:
    receiver.trust(format_secret(webhook_secret(bench.ctx, bench.asker.application)))
    receiver.seals.clock = bench.clock.now
    return receiver


def test_a_failed_callback_comes_again_after_its_pause_under_one_id_with_a_fresh_seal(
    bench_for: UseBench, post: Post
):
    with CallbackReceiver() as receiver, bench_for(receiver.url) as bench:
        _receiver(bench, receiver).fail(500, times=3)
        put(bench, "once")
        for seconds in (1, 5, 30):
            assert run(deliver_due(bench.ctx, post)) == 1
            bench.clock.move(seconds=seconds - 0.001)
            assert run(deliver_due(bench.ctx, post)) == 0
            bench.clock.move(seconds=0.001)
        assert run(deliver_due(bench.ctx, post)) == 1
        assert run(deliver_due(bench.ctx, post)) == 0
        assert [arrival.status for arrival in receiver.arrivals] == [500, 500, 500, 204]
        assert len({arrival.id for arrival in receiver.arrivals}) == 1
        assert len({arrival.raw for arrival in receiver.arrivals}) == 1
        seals = {arrival.headers["webhook-signature"] for arrival in receiver.arrivals}
        assert len(seals) == len({arrival.headers["webhook-timestamp"] for arrival in receiver.arrivals}) == 4
        assert state(bench) == ("delivered", 4, None)
        assert event_types(bench) == ["callback.failed"] * 3 + ["callback.delivered"]


def test_a_later_callback_of_a_transaction_never_overtakes_a_failed_one(bench_for: UseBench, post: Post):
    with CallbackReceiver() as receiver, bench_for(receiver.url) as bench:
        _receiver(bench, receiver).fail(503, times=2)
        put_in_transaction(bench, "first", "second", "third")
        for _ in range(6):
            run(deliver_due(bench.ctx, post))
            bench.clock.move(seconds=60)
        assert [callback.type for callback in receiver.received] == [
            "test.first",
            "test.second",
            "test.third",
        ]
        assert [callback.body["sequence"] for callback in receiver.received] == [1, 2, 3]
        assert [arrival.status for arrival in receiver.arrivals] == [503, 503, 204, 204, 204]


def test_a_callback_is_given_up_after_the_whole_schedule_and_frees_the_next(bench_for: UseBench, post: Post):
    with CallbackReceiver() as receiver, bench_for(receiver.url) as bench:
        _receiver(bench, receiver).fail(410, times=14)
        put_in_transaction(bench, "lost", "next")
        for tries in range(1, 15):
            assert [entry[1:3] for entry in states(bench)] == [("pending", tries - 1), ("pending", 0)]
            assert run(deliver_due(bench.ctx, post)) == 1
            bench.clock.move(seconds=(pause_after(tries) or timedelta(0)).total_seconds())
        assert states(bench)[0] == ("lost", "given_up", 14, "answered with status 410")
        assert run(deliver_due(bench.ctx, post)) == 1
        assert states(bench)[1] == ("next", "delivered", 1, None)
        assert event_types(bench) == ["callback.failed"] * 13 + ["callback.given_up", "callback.delivered"]


def test_two_workers_post_every_callback_once(bench_for: UseBench, post: Post):
    with CallbackReceiver() as receiver, bench_for(receiver.url) as bench:
        _receiver(bench, receiver).be_slow(0.05)
        put(bench, *(f"n{number:02}" for number in range(30)))

        async def work() -> None:
            while await deliver_due(bench.ctx, post):
                pass

        async def together() -> None:
            await asyncio.gather(work(), work(), work())

        run(together())
        assert len(receiver.arrivals) == len({arrival.id for arrival in receiver.arrivals}) == 30


DIES_AFTER_POSTING = """
import os, signal, ssl, sys
from gateway import assembly
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.worker import callbacks
from gateway.worker.posting import Post
from hsm.device import Device
from tests.scenarios.bench import SetClock, run
from tests.worker.outbox import deliver_due

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

callbacks._note_success = die
post = Post(tls=ssl.create_default_context(), private_addresses=True, seconds_most=20)
device = Device.open(sys.argv[2], wait_seconds=30)
with assembly.make_context(Settings(), Database(sys.argv[1]), device, SetClock()) as ctx:
    run(deliver_due(ctx, post))
"""


def test_a_worker_killed_after_posting_is_followed_by_another_with_the_same_id(
    bench_for: UseBench, post: Post, device_uri: str
):
    with CallbackReceiver() as receiver, bench_for(receiver.url) as bench:
        _receiver(bench, receiver)
        put(bench, "once")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("COUNTERSIGN_")}
        died = subprocess.run(
            [sys.executable, "-c", DIES_AFTER_POSTING, url_of(bench.ctx.database), device_uri],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert died.returncode == -9, died.stderr
        assert len(receiver.arrivals) == 1
        bench.clock.move(seconds=39)
        assert run(deliver_due(bench.ctx, post)) == 0  # its claim still holds
        bench.clock.move(seconds=2)
        assert run(deliver_due(bench.ctx, post)) == 1
        assert [arrival.id for arrival in receiver.arrivals] == [receiver.received[0].id] * 2
        assert len(receiver.received) == 1
        assert state(bench) == ("delivered", 1, None)


def test_what_waits_follows_the_application_to_another_host(bench_for: UseBench, post: Post):
    """Who moves callbacks because nobody answers any more at the old address wants those that wait."""
    with CallbackReceiver() as receiver, bench_for("http://127.0.0.1:9/callbacks") as bench:
        _receiver(bench, receiver)
        put_in_transaction(bench, "first", "second")
        name = bench.asker.application.id
        for callback_url in (None, receiver.url):
            run(set_callback(bench.ctx, name, callback_url))
            run(deliver_due(bench.ctx, post))
            bench.clock.move(seconds=60)
        run(deliver_due(bench.ctx, post))
        assert [callback.type for callback in receiver.received] == ["test.first", "test.second"]
        assert event_types(bench) == ["callback.failed", "callback.delivered", "callback.delivered"]
