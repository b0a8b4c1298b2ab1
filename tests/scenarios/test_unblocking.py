"""What does unblocking do to a user who is not blocked?"""

import pytest

from gateway.refusals import Refusal
from gateway.rules.user import UserAction, UserStatus
from tests.scenarios.bench import Bench, run


def test_the_failures_of_a_user_who_is_not_blocked_yet_are_forgotten(any_bench: Bench):
    bench = any_bench
    phone = run(bench.enrol("anna"))
    shown = run(bench.show(phone, run(bench.ask_to_confirm("anna"))))
    with pytest.raises(Refusal, match="proof_refused"):
        run(bench.approve_wrongly(phone, shown))
    assert bench.failures("anna") == 1
    assert run(bench.change("anna", UserAction.UNBLOCK))["status"] == UserStatus.ACTIVE
    assert bench.failures("anna") == 0
    assert bench.unbound() == []
    assert run(bench.approve(phone, shown))["status"] == "confirmed"
