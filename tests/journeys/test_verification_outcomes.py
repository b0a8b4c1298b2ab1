"""Does verifying tell what became of an answer, and never call valid what the gateway refused?"""

import pytest

from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Shown
from tests.counterparts.phone_wire import Operation
from tests.journeys.stage import Json, Stage

APPROVE = "transactions.approve"
PROOFS = ("step", "code", "signature")


@pytest.fixture(scope="module")
def phone(stage: Stage) -> Phone:
    """A registered phone."""
    return stage.phone()


def _verify(stage: Stage, shown: Shown, body: Json, operation: str = "approve", left_out: str = "") -> Json:
    proofs = {name: body[name] for name in PROOFS if name != left_out}
    return stage.bank.verify(shown.transaction, operation=operation, **proofs)


def test_right_proofs_of_a_step_outside_the_window_are_not_valid(stage: Stage, phone: Phone) -> None:
    shown = stage.ask(phone)
    body = phone.confirmation_body(shown, Operation.APPROVE, step=phone.step() - 5)
    assert phone.request(APPROVE, body).status == 403
    verdict = _verify(stage, shown, body)
    assert (verdict["valid"], verdict["outcome"]) == (False, "refused")
    assert verdict["checks"] == {"code": True, "signature": True}
    assert verdict["missing"] == []
    assert stage.events(transaction=shown.transaction, type="signature.verified")[-1]["result"] == "not_valid"


def test_right_proofs_that_came_late_are_not_valid_and_the_answer_before_them_is(
    stage: Stage, phone: Phone
) -> None:
    shown = stage.ask(phone)
    step = phone.step()
    first = phone.confirmation_body(shown, Operation.DECLINE, step=step)
    late = phone.confirmation_body(shown, Operation.APPROVE, step=step)
    assert phone.request("transactions.decline", first).status == 200
    assert phone.request(APPROVE, late).status == 409
    verdict = _verify(stage, shown, late)
    assert (verdict["valid"], verdict["outcome"], verdict["operation"]) == (False, "late", "approve")
    assert verdict["checks"] == {"code": True, "signature": True}
    verdict = _verify(stage, shown, first, "decline")
    assert (verdict["valid"], verdict["outcome"]) == (True, "accepted")


def test_of_a_wrong_and_a_right_answer_in_one_step_the_right_one_is_told_of(
    stage: Stage, phone: Phone
) -> None:
    shown = stage.ask(phone)
    step = phone.step()
    right = phone.confirmation_body(shown, Operation.APPROVE, step=step)
    wrong = {**right, "code": "A" * 43 + "="}
    assert phone.request(APPROVE, wrong).status == 403
    assert phone.request(APPROVE, right).status == 200
    verdict = _verify(stage, shown, right)
    assert (verdict["valid"], verdict["outcome"]) == (True, "accepted")
    assert not _verify(stage, shown, wrong)["valid"]


@pytest.mark.parametrize("left_out", ["code", "signature"])
def test_what_is_not_shown_is_named(stage: Stage, phone: Phone, left_out: str) -> None:
    shown = stage.ask(phone)
    body = phone.confirmation_body(shown, Operation.APPROVE)
    assert phone.request(APPROVE, body).status == 200
    verdict = _verify(stage, shown, body, left_out=left_out)
    assert (verdict["valid"], verdict["outcome"], verdict["missing"]) == (True, "accepted", [left_out])


def test_an_answer_that_never_was_has_no_outcome(stage: Stage, phone: Phone) -> None:
    shown = stage.ask(phone)
    body = phone.confirmation_body(shown, Operation.APPROVE)
    verdict = _verify(stage, shown, body)
    assert (verdict["valid"], verdict["outcome"], verdict["missing"]) == (False, None, [])
    assert phone.request(APPROVE, body).status == 200
    declined = {**body, **phone.confirmation_body(shown, Operation.DECLINE, step=body["step"])}
    verdict = _verify(stage, shown, declined, "decline")
    assert (verdict["valid"], verdict["outcome"], verdict["missing"]) == (False, None, [])
