"""What is sent, made ready before the clock starts, and is every answer right?"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

from scripts.benchmarks.load import Answer
from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Shown
from tests.counterparts.phone_line import PROOF_HEADER
from tests.counterparts.phone_tlv import b64
from tests.counterparts.phone_wire import Operation, answer_proof

APPROVE = "/client/v1/transactions.approve"
_OK = 200


class WrongAnswer(Exception):
    """An answer that is not the one the request must get."""


class Exchange(Protocol):
    """One request, to the byte, and what its answer must be."""

    @property
    def wire(self) -> bytes:
        """The request as it is sent."""
        ...

    @property
    def body(self) -> bytes:
        """Its body."""
        ...

    def check(self, answer: Answer) -> None:
        """Raise WrongAnswer unless it is the right one."""
        ...


def check_echoed(sent: Exchange, answer: Answer) -> None:
    """Raise WrongAnswer unless the body came back."""
    if answer.status != _OK or answer.body != sent.body:
        raise WrongAnswer(f"{answer.status} {answer.body.decode(errors='replace')}")


def _request(method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


@dataclass(frozen=True, slots=True)
class Approval:
    """One signed approval: the request's exact bytes, and what it takes to check the answer."""

    phone: Phone
    shown: Shown
    proofs: dict[str, Any]  # what a bank later has verified: step, code, signature
    body: bytes
    authcode: bytes
    wire: bytes

    @classmethod
    def sign(cls, phone: Phone, shown: Shown) -> Self:
        """Sign for this moment; a gateway takes it for some minutes only."""
        proofs = phone.confirmation_body(shown, Operation.APPROVE)
        body = phone.envelope(APPROVE.rpartition("/")[2], proofs)
        authcode = phone.authcode(body)
        wire = _request("POST", APPROVE, body, {PROOF_HEADER: b64(authcode)})
        return cls(phone, shown, proofs, body, authcode, wire)

    def check(self, answer: Answer) -> None:
        """Raise WrongAnswer unless it says that this transaction is confirmed and the gateway's proof holds."""
        headers = answer.headers()
        kind = headers.get("content-type", "").encode()
        proof = answer_proof(self.phone.keys.kauth, self.authcode, answer.status, kind, answer.body)
        if answer.status != _OK or headers.get(PROOF_HEADER.lower()) != b64(proof):
            raise WrongAnswer(f"{answer.status} {answer.body.decode(errors='replace')}")
        said = json.loads(answer.body)
        if (said["transaction"], said["status"]) != (self.shown.transaction, "confirmed"):
            raise WrongAnswer(answer.body.decode())


@dataclass(frozen=True, slots=True)
class PhoneCall:
    """One call of a phone that changes nothing, signed."""

    phone: Phone
    body: bytes
    authcode: bytes
    wire: bytes
    expected: bytes | None

    @classmethod
    def sign(cls, phone: Phone, action: str, said: dict[str, Any], expected: bytes | None = None) -> Self:
        """Sign for this moment; `expected` is what comes back where that is known."""
        body = phone.envelope(action, said)
        authcode = phone.authcode(body)
        wire = _request("POST", f"/client/v1/{action}", body, {PROOF_HEADER: b64(authcode)})
        return cls(phone, body, authcode, wire, expected)

    def check(self, answer: Answer) -> None:
        """Raise WrongAnswer unless it is 200 with the gateway's proof, and what is expected."""
        headers = answer.headers()
        kind = headers.get("content-type", "").encode()
        proof = answer_proof(self.phone.keys.kauth, self.authcode, answer.status, kind, answer.body)
        is_right = answer.status == _OK and self.expected in (None, answer.body)
        if not is_right or headers.get(PROOF_HEADER.lower()) != b64(proof):
            raise WrongAnswer(f"{answer.status} {answer.body.decode(errors='replace')[:500]}")


@dataclass(frozen=True, slots=True)
class BankCall:
    """One call of a bank; `is_right` looks at the JSON of an answer that has the right status."""

    body: bytes
    wire: bytes
    status: int
    is_right: Callable[[dict[str, Any]], bool]
    subject: Any = None  # what the call is about, for whoever takes it back unsent

    @classmethod
    def write(
        cls,
        api_key: str,
        path: str,
        said: dict[str, Any] | None,
        is_right: Callable[[dict[str, Any]], bool],
        *,
        status: int = _OK,
        subject: Any = None,
        **headers: str,
    ) -> Self:
        """Write a POST, or a GET if nothing is said; `headers` are further ones, with _ for -."""
        body = b"" if said is None else json.dumps(said).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        wire = _request(
            "POST" if body else "GET", path, body, {"Authorization": f"Bearer {api_key}", **named}
        )
        return cls(body, wire, status, is_right, subject)

    def check(self, answer: Answer) -> None:
        """Raise WrongAnswer unless status and content are right."""
        if answer.status != self.status or not self.is_right(json.loads(answer.body)):
            raise WrongAnswer(f"{answer.status} {answer.body.decode(errors='replace')[:500]}")
