"""Is a user who failed too often blocked in the end, whoever was killed before saying so?"""

from gateway.rules import policy
from gateway.rules.user import UserAction
from gateway.scenarios.user_lifecycle import block_overdue
from gateway.store import applications
from tests.scenarios.bench import Bench, run

STATE = "SELECT status, reason, failures FROM users WHERE user_id = 'ann'"
EVENTS = "SELECT count(*) FROM events WHERE type = 'user.blocked' AND user_id = 'ann'"


def test_a_block_that_a_killed_process_did_not_make_is_made_up_for(any_bench: Bench):
    run(any_bench.enrol("ann"))
    any_bench.write("UPDATE users SET failures = 5 WHERE user_id = 'ann'")
    assert run(block_overdue(any_bench.ctx)) == 1
    assert tuple(any_bench.rows(STATE)[0]) == ("blocked", "too_many_failures", 0)
    assert any_bench.rows(EVENTS)[0][0] == 1
    assert any_bench.unbound() == []
    assert run(block_overdue(any_bench.ctx)) == 0


def test_a_stricter_policy_blocks_whoever_failed_as_often_already(any_bench: Bench):
    run(any_bench.enrol("ann"))
    any_bench.write("UPDATE users SET failures = 3 WHERE user_id = 'ann'")
    assert run(block_overdue(any_bench.ctx)) == 0
    run(
        any_bench.ctx.unit(
            applications.replace_policy,
            any_bench.asker.application.id,
            policy.from_json({"failures_most": 3}),
            any_bench.clock.now(),
        )
    )
    assert run(block_overdue(any_bench.ctx)) == 1


def test_an_unblocked_user_starts_counting_anew(any_bench: Bench):
    run(any_bench.enrol("ann"))
    any_bench.write("UPDATE users SET failures = 5 WHERE user_id = 'ann'")
    run(block_overdue(any_bench.ctx))
    run(any_bench.change("ann", UserAction.UNBLOCK))
    assert tuple(any_bench.rows(STATE)[0]) == ("active", None, 0)
    assert run(block_overdue(any_bench.ctx)) == 0
