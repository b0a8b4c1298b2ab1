"""Does the worker do all its duties, whatever becomes of one of them, and stop in an orderly way?"""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway import assembly
from gateway.refusals import Outage
from gateway.rules.keyset import KeysetStatus
from gateway.scenarios import housekeeping
from gateway.worker import callbacks, loop
from gateway.worker.loop import run_worker
from gateway.worker.posting import Post
from hsm.device import Device
from hsm.keys import KeyRef
from tests.scenarios.bench import Bench, run
from tests.worker.conftest import UseBench
from tests.worker.outbox import put, state, states
from tests.worker.receivers import RawReceiver
from tests.worker.test_receivers import OK


def _work_until(bench: Bench, post: Post, done: Callable[[], bool], seconds: float = 60) -> None:
    """Run the worker until something has come about, and stop it."""

    async def work() -> None:
        stop = asyncio.Event()
        working = asyncio.ensure_future(run_worker(bench.ctx, post, {}, stop))
        deadline = time.monotonic() + seconds
        while not await asyncio.to_thread(done):
            assert time.monotonic() < deadline, "the worker did not do it"
            assert not working.done()
            await asyncio.sleep(0.05)
        stop.set()
        await asyncio.wait_for(working, 60)

    run(work())


def _transaction(bench: Bench) -> str:
    return str(bench.rows("SELECT status FROM transactions")[0].status)


def test_one_worker_expires_lapses_sweeps_forgets_and_delivers(
    bench_for: UseBench, post: Post, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loop, "_SWEEP_SECONDS", 0.2)  # the keys of what lapses are loose after that
    with RawReceiver(OK) as receiver, bench_for(receiver.url) as bench:
        run(bench.enrol("anna"))
        run(bench.ask_to_confirm("anna"))
        run(bench.create_user("berta"))
        issued = run(bench.issue("berta"))
        kauth = bench.keyset(issued.keyset["id"]).kauth
        bench.clock.move(hours=73)

        def done() -> bool:
            return (
                _transaction(bench) == "cancelled"
                and bench.keyset(issued.keyset["id"]).status is KeysetStatus.LAPSED
                and KeyRef.parse(kauth) not in bench.device.user_keys()
                and bench.rows("SELECT * FROM replays") == []
                and bench.rows("SELECT * FROM deliveries WHERE status <> 'delivered'") == []
                and len(receiver.requests) == 2
            )

        _work_until(bench, post, done)


@pytest.mark.parametrize(
    ("duty", "error"),
    [
        ("lapse_keysets", AssertionError()),
        ("forget_old_marks", RuntimeError("a bug")),
        ("sweep_keys", Outage("database: away")),
    ],
)
def test_a_duty_that_fails_does_not_keep_callbacks_from_going_out(
    bench_for: UseBench, post: Post, monkeypatch: pytest.MonkeyPatch, duty: str, error: Exception
):
    async def fail(_: Any) -> int:
        raise error

    monkeypatch.setattr(housekeeping, duty, fail)
    with RawReceiver(OK) as receiver, bench_for(receiver.url) as bench:
        put(bench, "x")
        _work_until(bench, post, lambda: state(bench)[0] == "delivered")


def test_a_duty_that_failed_is_tried_again(bench_for: UseBench, post: Post, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "_AFTER_OUTAGE_SECONDS", 0.05)
    calls: list[int] = []

    async def fail_twice(_: Any) -> int:
        calls.append(1)
        if len(calls) < 3:
            raise Outage("database: away")
        return 0

    monkeypatch.setattr(housekeeping, "sweep_keys", fail_twice)
    with bench_for("http://127.0.0.1:9/") as bench:
        _work_until(bench, post, lambda: len(calls) == 3)


def test_without_the_device_transactions_still_expire_and_callbacks_wait(
    bench_for: UseBench, post: Post, token_uri: str
):
    with RawReceiver(OK) as receiver, bench_for(receiver.url) as bench:
        run(bench.enrol("anna"))
        run(bench.ask_to_confirm("anna"))
        bench.clock.move(hours=1)
        lost = Device.open(token_uri)
        assembly.create_house_keys(lost)
        settings = assembly.Settings(database_connections=2, token_sessions=2)
        with assembly.make_context(settings, bench.ctx.database, lost, bench.clock) as ctx:
            lost.close()
            away = Bench(ctx, bench.clock, bench.asker)
            _work_until(away, post, lambda: _transaction(bench) == "cancelled")
        assert receiver.requests == []
        bench.clock.move(seconds=70)
        _work_until(
            bench, post, lambda: bench.rows("SELECT * FROM deliveries WHERE status <> 'delivered'") == []
        )


def test_stopping_lets_the_callback_under_way_arrive_and_be_noted(bench_for: UseBench, post: Post):
    def slowly(connection: Any) -> None:
        time.sleep(1)
        OK(connection)

    with RawReceiver(slowly) as receiver, bench_for(receiver.url) as bench:
        put(bench, "x")
        _work_until(bench, post, lambda: len(receiver.requests) == 1)
        assert state(bench) == ("delivered", 1, None)


def test_a_hundred_callbacks_that_hang_do_not_hold_up_those_of_another_application(
    bench_for: UseBench, post: Post
):
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent, RawReceiver(OK) as receiver:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with bench_for(receiver.url) as bench:
            put(bench, *(f"hangs.{number:03}" for number in range(100)), url=url)
            bench.clock.move(seconds=1)

            def put_and_await_three() -> bool:
                for each in range(3):
                    begun = time.monotonic()
                    put(bench, f"quick.{each}")
                    while len(receiver.requests) == each:
                        assert time.monotonic() < begun + 10, "it had to wait for those that hang"
                        time.sleep(0.01)
                threading.Timer(0.5, silent.close).start()  # the worker sees those under way to their end
                return True

            _work_until(bench, post, put_and_await_three)
            hanging = [entry for entry in states(bench) if entry[0].startswith("hangs")]
            assert {entry[1] for entry in hanging} == {"pending"}
            assert 0 < sum(entry[2] for entry in hanging) < 100


def test_an_outage_while_callbacks_are_made_is_told_and_ends_nothing(
    bench_for: UseBench, post: Post, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loop, "_AFTER_OUTAGE_SECONDS", 0.05)
    monkeypatch.setattr(loop, "_CALLBACK_SECONDS", 0.05)
    real, calls = callbacks._seal, []

    async def fail_once(*words: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise Outage("device: away")
        return await real(*words)

    monkeypatch.setattr(callbacks, "_seal", fail_once)
    with RawReceiver(OK) as receiver, bench_for(receiver.url) as bench:
        put(bench, "x")

        def claim_is_over() -> bool:
            bench.clock.move(seconds=1)
            return state(bench) == ("delivered", 1, None)

        _work_until(bench, post, claim_is_over)
