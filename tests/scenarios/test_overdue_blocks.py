"""Is a user who failed too often blocked in the end, whoever was killed before saying so?"""

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from gateway.rules import policy
from gateway.rules.policy import Policy
from gateway.rules.user import UserAction
from gateway.scenarios.user_lifecycle import block_overdue
from gateway.store import applications
from gateway.store.users import insert_user
from hsm.device import Device
from hsm.errors import DeviceError
from tests.scenarios.bench import Bench, opened_bench, run
from tests.store.rows import anna

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


def test_many_who_failed_in_one_application_keep_nobody_of_another_from_being_blocked(any_bench: Bench):
    with any_bench.ctx.database.unit() as connection:
        for number in range(120):
            own = replace(anna(f"user{number}"), application_id=any_bench.asker.application.id)
            insert_user(connection, own)
    any_bench.write("UPDATE users SET failures = 4")
    strict = Policy(failures_most=2)
    with opened_bench(any_bench.ctx.database, any_bench.device, strict) as other:
        run(other.enrol("ann"))
        other.write("UPDATE users SET failures = 2 WHERE user_id = 'ann'")
        assert run(block_overdue(other.ctx)) == 1
        assert tuple(other.rows(STATE)[0]) == ("blocked", "too_many_failures", 0)


def test_a_policy_that_nobody_can_read_keeps_nobody_of_another_application_from_being_blocked(bench: Bench):
    run(bench.enrol("ann"))
    with opened_bench(bench.ctx.database, bench.device) as other:
        run(other.create_user("bob"))
        bench.write("UPDATE users SET failures = 5")
        name = other.asker.application.id
        bench.write("UPDATE applications SET policy = '{\"failures_most\": 99}' WHERE id = :name", name=name)
        with capture_logs() as lines:
            assert run(block_overdue(bench.ctx)) == 1
        assert [(line["log_level"], line["application"]) for line in lines] == [("error", name)]


def test_without_the_device_no_block_is_taken_for_made(bench: Bench, own_device_uri: str):
    run(bench.enrol("ann"))
    bench.write("UPDATE users SET failures = 5")
    away = Device.open(own_device_uri)
    with opened_bench(bench.ctx.database, away) as other:
        away.close()
        with pytest.raises(DeviceError):  # whoever repeats this waits, and tells of an outage
            run(block_overdue(other.ctx))
    assert run(block_overdue(bench.ctx)) == 1
