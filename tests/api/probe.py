"""What does every attack leave behind: an answer that says no, an event, and a transaction that still works?"""

from dataclasses import dataclass
from typing import Any

from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Shown
from tests.counterparts.phone_line import PROOF_HEADER, Answer
from tests.counterparts.phone_wire import Operation
from tests.journeys.stage import Json, Stage

APPROVE = "transactions.approve"
IDS = ("request-id", "date")


def problem(answer: Answer) -> tuple[int, str]:
    """Status and code of a refusal, which must be a problem document."""
    assert answer.content_type == "application/problem+json", answer.body
    found = answer.json()
    assert found["status"] == answer.status
    assert found["type"] == f"urn:countersign:problem:{found['code']}"
    assert found["instance"] == f"urn:countersign:request:{answer.headers['request-id']}"
    assert answer.headers["cache-control"] == "no-store, no-transform"
    return answer.status, found["code"]


def without_ids(answer: Answer) -> tuple[int, list[tuple[str, str]], bytes]:
    """The whole answer, as an attacker sees it, but for the ids that differ in any two answers."""
    headers = sorted((name, value) for name, value in answer.headers.items() if name not in IDS)
    body = answer.body.replace(answer.headers["request-id"].encode(), b"ID")
    return answer.status, headers, body


@dataclass(frozen=True)
class Probe:
    """A phone with a transaction it shows."""

    stage: Stage
    phone: Phone
    shown: Shown

    def body(self, operation: Operation = Operation.APPROVE, **changes: object) -> Json:
        """The right body of an answer, with members changed; None leaves one out."""
        body = self.phone.confirmation_body(self.shown, operation) | changes
        return {name: value for name, value in body.items() if value is not None}

    def approve(self, body: object, **overrides: object) -> Answer:
        """Approve with this body."""
        return self.phone.request(APPROVE, body, **overrides)

    def is_proved(self, answer: Answer) -> bool:
        """Whether the answer carries the gateway's proof; one that does not hold is a failure."""
        if PROOF_HEADER not in answer.headers:
            return False
        assert answer.proved_under(self.phone.keys.kauth)
        return True

    def expect(self, answer: Answer, status: int, code: str, *, proved: bool, event: str) -> Json:
        """Check answer and event of a refusal; returns the event."""
        assert problem(answer) == (status, code)
        assert self.is_proved(answer) is proved
        lines = [line for line in self.stage.recorded(answer) if line["type"] == event]
        assert lines, self.stage.recorded(answer)
        assert lines[0]["reason"]
        return lines[0]

    def still_works(self) -> None:
        """Nothing was lost: the transaction is pending, and the right answer confirms it."""
        assert self.stage.bank.transaction(self.shown.transaction)["status"] == "pending"
        assert self.phone.approve(self.shown)["status"] == "confirmed"
        assert self.stage.bank.user(self.phone.account.user)["failures"] == 0

    def attempts(self) -> list[tuple[str, list[str]]]:
        """Outcome and checks of each attempt at the transaction."""
        kept: list[Any] = self.stage.bank.transaction(self.shown.transaction)["attempts"]
        return [(attempt["outcome"], attempt["verified"]) for attempt in kept]
