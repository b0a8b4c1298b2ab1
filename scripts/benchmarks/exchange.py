"""What is sent, signed before the clock starts, and is every answer right?"""

import json
from dataclasses import dataclass
from typing import Self

from scripts.benchmarks.load import Answer
from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Shown
from tests.counterparts.phone_line import PROOF_HEADER
from tests.counterparts.phone_tlv import b64
from tests.counterparts.phone_wire import Operation, answer_proof

_ACTION = "transactions.approve"
_OK = 200


class WrongAnswer(Exception):
    """An answer that is not the one the request must get."""


@dataclass(frozen=True, slots=True)
class Approval:
    """One signed approval: the request's exact bytes, and what it takes to check the answer."""

    phone: Phone
    shown: Shown
    body: bytes
    authcode: bytes
    wire: bytes

    @classmethod
    def sign(cls, phone: Phone, shown: Shown) -> Self:
        """Sign for this moment; a gateway takes it for some minutes only."""
        body = phone.envelope(_ACTION, phone.confirmation_body(shown, Operation.APPROVE))
        authcode = phone.authcode(body)
        head = (
            f"POST /client/v1/{_ACTION} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"{PROOF_HEADER}: {b64(authcode)}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return cls(phone, shown, body, authcode, head.encode() + body)

    def check_confirmed(self, answer: Answer) -> None:
        """Raise WrongAnswer unless it says that this transaction is confirmed and the gateway's proof holds."""
        headers = answer.headers()
        kind = headers.get("content-type", "").encode()
        proof = answer_proof(self.phone.keys.kauth, self.authcode, answer.status, kind, answer.body)
        if answer.status != _OK or headers.get(PROOF_HEADER.lower()) != b64(proof):
            raise WrongAnswer(f"{answer.status} {answer.body.decode(errors='replace')}")
        said = json.loads(answer.body)
        if (said["transaction"], said["status"]) != (self.shown.transaction, "confirmed"):
            raise WrongAnswer(answer.body.decode())

    def check_echoed(self, answer: Answer) -> None:
        """Raise WrongAnswer unless the body came back."""
        if answer.status != _OK or answer.body != self.body:
            raise WrongAnswer(f"{answer.status} {answer.body.decode(errors='replace')}")
