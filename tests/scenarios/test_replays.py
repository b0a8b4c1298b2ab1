"""Is every request of a phone accepted once: by whichever process, before and after a restart, until it is too old?"""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.refusals import Refusal
from gateway.scenarios import housekeeping, policies
from gateway.store.database import Database
from tests.scenarios.bench import ORIGIN, Bench, run
from tests.store.databases import opened, url_of

ACTION = "transactions.pending"
WINDOW = timedelta(seconds=300)


def _is_refused(bench: Bench, phone: object, raw: bytes) -> bool:
    try:
        run(bench.send(phone, ACTION, raw))  # type: ignore[arg-type]
    except Refusal as refusal:
        return refusal.problem.code == "authentication_failed"
    return False


def _marks(bench: Bench) -> int:
    return len(bench.rows("SELECT * FROM replays"))


def test_a_request_is_accepted_once_by_however_many_that_get_it_at_once(any_bench: Bench):
    phone = run(any_bench.enrol("anna"))
    raw = any_bench.raw(phone, ACTION, {})

    async def eight_times() -> list[object]:
        asked = [any_bench.send(phone, ACTION, raw) for _ in range(8)]
        return list(await asyncio.gather(*asked, return_exceptions=True))

    answers = run(eight_times())
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    assert len(refused) == 7
    assert {refusal.reason for refusal in refused} == {"replayed request"}


def test_a_restart_does_not_forget_what_was_used(bench: Bench):
    phone = run(bench.enrol("anna"))
    raw = bench.raw(phone, ACTION, {})
    assert not _is_refused(bench, phone, raw)
    database: Database = bench.ctx.database
    with opened(url_of(database)) as restarted:
        after = Bench(replace(bench.ctx, database=restarted), bench.clock, bench.asker)
        assert _is_refused(after, phone, raw)


@pytest.mark.parametrize("by", [-WINDOW, timedelta(0), WINDOW])
def test_at_no_moment_is_a_used_request_both_in_time_and_forgotten(bench: Bench, by: timedelta):
    """A phone's clock may be wrong by the window in both directions."""
    phone = run(bench.enrol("anna"))
    phone.offset = by
    raw = bench.raw(phone, ACTION, {})
    assert not _is_refused(bench, phone, raw)
    for _ in range(26):
        assert _is_refused(bench, phone, raw)
        bench.clock.move(minutes=5)
        run(housekeeping.forget_old_marks(bench.ctx))
    assert _marks(bench) == 0


def test_a_used_request_stays_used_when_the_window_is_made_as_wide_as_it_can_be(bench: Bench):
    """A phone's clock may be ahead by the narrow window when the request is made."""
    phone = run(bench.enrol("anna"))
    phone.offset = WINDOW
    raw = bench.raw(phone, ACTION, {})
    assert not _is_refused(bench, phone, raw)
    run(policies.put_policy(bench.ctx, bench.asker, {"request_window_seconds": 3600}, ORIGIN))
    for _ in range(26):
        bench.clock.move(minutes=5)
        run(housekeeping.forget_old_marks(bench.ctx))
        assert _is_refused(bench, phone, raw)


def test_marks_are_kept_for_twice_the_widest_window_and_a_minute(bench: Bench):
    phone = run(bench.enrol("anna"))
    bench.clock.move(hours=3)
    run(housekeeping.forget_old_marks(bench.ctx))
    assert _marks(bench) == 0
    assert not _is_refused(bench, phone, bench.raw(phone, ACTION, {}))
    bench.clock.move(seconds=2 * 3600 + 60)
    run(housekeeping.forget_old_marks(bench.ctx))
    assert _marks(bench) == 1
    bench.clock.move(seconds=1)
    run(housekeeping.forget_old_marks(bench.ctx))
    assert _marks(bench) == 0


def test_a_request_that_was_refused_is_used_up_as_well(bench: Bench):
    phone = run(bench.enrol("anna"))
    name = run(bench.ask_to_confirm("anna"))
    shown = run(bench.show(phone, name))
    wrong = {**phone.confirmation_body(shown, 1), "code": "A" * 43 + "="}
    raw = bench.raw(phone, "transactions.approve", wrong)
    for code in ("proof_refused", "authentication_failed", "authentication_failed"):
        with pytest.raises(Refusal) as refused:
            run(bench.send(phone, "transactions.approve", raw))
        assert refused.value.problem.code == code
    assert bench.failures("anna") == 1
