"""How much does a phone that answers again and again make the gateway keep?"""

import pytest
import sqlalchemy as sa

from gateway.refusals import Refusal
from gateway.store.tables import attempts, events
from tests.scenarios.bench import Bench, run

MANY = 25


def _outcomes(bench: Bench) -> list[str]:
    return sorted(row.outcome for row in bench.rows(sa.select(attempts.c.outcome)))


def _events(bench: Bench, type_: str) -> int:
    return len(bench.rows(sa.select(events.c.id).where(events.c.type == type_)))


def test_of_answers_in_wrong_steps_twenty_are_kept_and_the_right_one_after_them(bench: Bench):
    phone = run(bench.enrol("anna"))
    shown = run(bench.show(phone, run(bench.ask_to_confirm("anna"))))
    wrong = phone.confirmation_body(shown, 1, step=phone.step() + 5)
    for _ in range(MANY):
        with pytest.raises(Refusal, match="proof_refused"):
            run(bench.ask(phone, "transactions.approve", wrong))
    assert _outcomes(bench) == ["refused"] * 20
    assert _events(bench, "transaction.proof_refused") == MANY
    assert run(bench.approve(phone, shown))["status"] == "confirmed"
    assert _outcomes(bench) == ["accepted"] + ["refused"] * 20


def test_late_answers_are_kept_twenty_times_and_told_of_each_time(bench: Bench):
    phone = run(bench.enrol("anna"))
    shown = run(bench.show(phone, run(bench.ask_to_confirm("anna"))))
    run(bench.approve(phone, shown))
    for _ in range(MANY):
        with pytest.raises(Refusal, match="transaction_settled"):
            run(bench.ask(phone, "transactions.decline", phone.confirmation_body(shown, 2)))
    assert _outcomes(bench) == ["accepted"] + ["late"] * 20
    assert _events(bench, "transaction.late_answer") == MANY


def test_another_transaction_has_a_number_of_its_own(bench: Bench):
    phone = run(bench.enrol("anna"))
    for number in (1, 2):
        shown = run(bench.show(phone, run(bench.ask_to_confirm("anna"))))
        wrong = phone.confirmation_body(shown, 1, step=phone.step() + 5)
        for _ in range(21):
            with pytest.raises(Refusal, match="proof_refused"):
                run(bench.ask(phone, "transactions.approve", wrong))
        assert len(_outcomes(bench)) == 20 * number


def test_a_right_answer_that_comes_too_late_does_not_start_the_count_of_failures_anew(bench: Bench):
    phone = run(bench.enrol("anna"))
    first = run(bench.show(phone, run(bench.ask_to_confirm("anna"))))
    run(bench.approve(phone, first))
    second = run(bench.show(phone, run(bench.ask_to_confirm("anna"))))
    for _ in range(3):
        with pytest.raises(Refusal, match="proof_refused"):
            run(bench.approve_wrongly(phone, second))
    assert run(bench.approve(phone, first))["status"] == "confirmed"  # as it was
    assert bench.failures("anna") == 3
    run(bench.approve(phone, second))
    assert bench.failures("anna") == 0
