"""What holds when many change the same at once: bindings, counters, one open keyset, one outcome?"""

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.refusals import Refusal
from gateway.rules.policy import Policy
from gateway.rules.user import UserAction
from gateway.scenarios import housekeeping
from gateway.scenarios.transactions import cancel_transaction
from gateway.store import users
from gateway.store.database import Connection
from gateway.store.tables import attempts, events, transactions
from hsm.device import Device
from tests.scenarios.bench import ORIGIN, Bench, opened_bench, run
from tests.store.databases import KINDS, migrated_database


async def _all(*asked: Coroutine[Any, Any, Any]) -> list[str]:
    """Do it all at once; return how each ended, a bug raises."""
    ended = []
    for answer in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(answer, Refusal):
            ended.append(answer.problem.code)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            ended.append("done")
    return ended


def _events(bench: Bench, type_: str) -> int:
    return len(bench.rows(sa.select(events.c.id).where(events.c.type == type_)))


def test_whatever_happens_to_a_user_at_once_every_binding_holds(any_bench: Bench):
    bench = any_bench
    phone = run(bench.enrol("anna"))
    for _ in range(3):
        ended = run(
            _all(
                bench.change("anna", UserAction.BLOCK),
                bench.issue("anna"),
                bench.change("anna", UserAction.UNBLOCK),
                bench.ask(phone, "transactions.pending", {}),
                bench.change("anna", UserAction.BLOCK),
                bench.issue("anna"),
                bench.change("anna", UserAction.UNBLOCK),
                housekeeping.sweep_keys(bench.ctx),
            )
        )
        assert set(ended) <= {"done", "user_blocked", "concurrent_change", "authentication_failed"}
        assert bench.unbound() == []
        run(bench.change("anna", UserAction.UNBLOCK))
    bench.clock.move(minutes=11)
    run(housekeeping.sweep_keys(bench.ctx))
    run(bench.issue("anna"))
    statuses = Counter(row.status for row in bench.rows("SELECT status FROM keysets"))
    assert statuses["issued"] + statuses["active"] == 1
    assert bench.unbound() == []


def test_two_phones_that_register_one_package_at_once_end_with_one_key(any_bench: Bench):
    bench = any_bench
    run(bench.create_user("anna"))
    issued = run(bench.issue("anna"))
    before = {key.uri() for key in bench.device.user_keys()}
    phones = [bench.phone(issued) for _ in range(4)]
    ended = run(_all(*(bench.register(phone) for phone in phones)))
    assert ended.count("done") == 1
    assert set(ended) <= {"done", "concurrent_change", "already_registered"}
    (row,) = bench.rows("SELECT * FROM keysets")
    assert bytes(row.spki) == phones[ended.index("done")].public_spki()
    assert bench.unbound() == []
    run(housekeeping.sweep_keys(bench.ctx))
    # One that came when the keyset was registered already put no key onto the token.
    assert {key.uri() for key in bench.device.user_keys()} - before == {row.kpublic}
    assert len(bench.rows("SELECT * FROM devices")) == 1


def test_approval_decline_cancellation_and_expiry_at_once_end_in_one_outcome(any_bench: Bench):
    bench = any_bench
    phone = run(bench.enrol("anna"))
    for _ in range(4):
        name = run(bench.ask_to_confirm("anna"))
        shown = run(bench.show(phone, name))
        decline = phone.confirmation_body(shown, 2)
        ended = run(
            _all(
                bench.approve(phone, shown),
                bench.ask(phone, "transactions.decline", decline),
                cancel_transaction(bench.ctx, bench.asker, name, None, ORIGIN),
            )
        )
        assert Counter(ended) == {"done": 1, "transaction_settled": 2}
        (row,) = bench.rows(sa.select(transactions).where(transactions.c.id == name))
        assert row.status == ["confirmed", "declined", "cancelled"][ended.index("done")]
        accepted = sa.select(attempts).where(
            attempts.c.transaction_id == name, attempts.c.outcome == "accepted"
        )
        assert len(bench.rows(accepted)) == int(row.status != "cancelled")
    assert _events(bench, "transaction.settled") == 4


def test_40_approvals_that_race_a_cancellation_never_meet_an_outage(any_bench: Bench):
    bench = any_bench
    phone = run(bench.enrol("anna"))
    for _ in range(40):
        name = run(bench.ask_to_confirm("anna"))
        shown = run(bench.show(phone, name))
        cancellations = [cancel_transaction(bench.ctx, bench.asker, name, None, ORIGIN) for _ in range(3)]
        ended = run(_all(bench.approve(phone, shown), *cancellations))
        assert Counter(ended) == {"done": 1, "transaction_settled": 3}


def test_units_that_lock_each_other_out_are_both_done(any_bench: Bench):
    bench = any_bench
    for user in ("anna", "berta"):
        run(bench.create_user(user))
    both_hold_one = threading.Barrier(2)

    def count(connection: Connection, *names: str) -> None:
        for name in names:
            users.count_failure(connection, bench.asker.application.id, name)
            # The second time, and where one writes at a time.
            with contextlib.suppress(threading.BrokenBarrierError):
                both_hold_one.wait(0.5)

    ended = run(_all(bench.ctx.unit(count, "anna", "berta"), bench.ctx.unit(count, "berta", "anna")))
    assert ended == ["done", "done"]
    assert (bench.failures("anna"), bench.failures("berta")) == (2, 2)


def test_wrong_answers_at_once_are_counted_exactly_and_block_the_user_once(any_bench: Bench):
    bench = any_bench
    phone = run(bench.enrol("anna"))
    shown = [run(bench.show(phone, run(bench.ask_to_confirm("anna")))) for _ in range(8)]
    ended = Counter(run(_all(*(bench.approve_wrongly(phone, each) for each in shown))))
    assert ended == {"proof_refused": 5, "authentication_failed": 3}
    (user,) = bench.rows("SELECT * FROM users")
    assert (user.status, user.reason) == ("blocked", "too_many_failures")
    assert _events(bench, "user.blocked") == 1
    assert _events(bench, "user.block_near") == 1
    assert len(bench.rows(sa.select(attempts).where(attempts.c.outcome == "refused"))) == 5
    assert bench.unbound() == []


def test_a_right_answer_starts_the_count_anew_and_the_limit_is_exact(bench: Bench):
    phone = run(bench.enrol("anna"))

    def answer(how: Any) -> str:
        shown = run(bench.show(phone, run(bench.ask_to_confirm("anna"))))
        return run(_all(how(phone, shown)))[0]

    for wrong in (4, 4):
        assert [answer(bench.approve_wrongly) for _ in range(wrong)] == ["proof_refused"] * wrong
        assert bench.failures("anna") == wrong
        assert answer(bench.approve) == "done"
        assert bench.failures("anna") == 0
    assert [answer(bench.approve_wrongly) for _ in range(5)] == ["proof_refused"] * 5
    assert run(_all(bench.ask(phone, "transactions.pending", {}))) == ["authentication_failed"]
    run(bench.change("anna", UserAction.UNBLOCK))
    assert bench.failures("anna") == 0
    assert answer(bench.approve) == "done"


@pytest.mark.parametrize("kind", KINDS)
def test_a_transaction_is_cancelled_after_its_failures_and_counts_them_exactly(
    kind: str, tmp_path: Path, own_device: Device
):
    with (
        migrated_database(kind, tmp_path) as database,
        opened_bench(database, own_device, Policy(failures_most=3)) as bench,
    ):
        phone = run(bench.enrol("anna"))
        name = run(bench.ask_to_confirm("anna"))
        shown = run(bench.show(phone, name))
        ended = Counter(run(_all(*(bench.approve_wrongly(phone, shown) for _ in range(6)))))
        assert ended == {"proof_refused": 3, "authentication_failed": 3}
        (row,) = bench.rows(sa.select(transactions).where(transactions.c.id == name))
        assert (row.status, row.reason, row.failures) == ("cancelled", "too_many_failures", 3)


def test_a_wrong_clock_is_no_guess_and_counts_for_nothing(bench: Bench):
    phone = run(bench.enrol("anna"))
    name = run(bench.ask_to_confirm("anna"))
    shown = run(bench.show(phone, name))
    late = phone.confirmation_body(shown, 1, step=phone.step() + 5)
    for _ in range(7):
        assert run(_all(bench.ask(phone, "transactions.approve", late))) == ["proof_refused"]
    assert bench.failures("anna") == 0
    assert run(bench.approve(phone, shown))["status"] == "confirmed"
