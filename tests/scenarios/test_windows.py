"""Where exactly do the windows for the time of a request and for the step of an answer end, by a clock that stands?"""

from datetime import timedelta

import pytest

from gateway.refusals import Refusal
from tests.scenarios.bench import Bench, run

PENDING, APPROVE = "transactions.pending", "transactions.approve"


@pytest.mark.parametrize(
    ("seconds", "is_in_time"),
    [(-302, False), (-301, False), (-300, True), (300, True), (301, False), (302, False)],
)
def test_a_request_is_in_time_up_to_five_minutes_before_and_after(
    bench: Bench, *, seconds: int, is_in_time: bool
) -> None:
    phone = run(bench.enrol("anna"))
    phone.offset = timedelta(seconds=seconds)
    if is_in_time:
        assert run(bench.ask(phone, PENDING, {}))["transactions"] == []
    else:
        with pytest.raises(Refusal, match="authentication_failed") as refused:
            run(bench.ask(phone, PENDING, {}))
        assert refused.value.reason == "time of the request is out of the window"


@pytest.mark.parametrize(("by", "is_in_time"), [(-2, False), (-1, True), (1, True), (2, False)])
def test_an_answer_may_name_the_step_before_or_after_the_present_one_and_no_other(
    bench: Bench, *, by: int, is_in_time: bool
) -> None:
    phone = run(bench.enrol("anna"))
    shown = run(bench.show(phone, run(bench.ask_to_confirm("anna"))))
    body = phone.confirmation_body(shown, 1, step=phone.step() + by)
    if is_in_time:
        assert run(bench.ask(phone, APPROVE, body))["status"] == "confirmed"
    else:
        with pytest.raises(Refusal, match="proof_refused"):
            run(bench.ask(phone, APPROVE, body))
    assert bench.failures("anna") == 0
