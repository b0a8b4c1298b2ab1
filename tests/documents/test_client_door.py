"""Does the client door do what its document says, whatever a phone with the right keys sends?

Each request is signed as it is sent, so that it is refused for what it says and not for who sent it.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx2
import jsonschema
import pytest
import requests
import schemathesis
from cryptography.hazmat.primitives.asymmetric import rsa
from schemathesis import Case, GenerationMode

from tests.counterparts.phone import WRAP_KEY_BITS
from tests.counterparts.phone_line import PROOF_HEADER, Answer
from tests.counterparts.phone_tlv import b64
from tests.counterparts.phone_wire import Operation, format_time
from tests.documents.calling import ALLOWED, FORBIDDEN, YES_OR_NO, Door, Draw, put_known, put_real, reached
from tests.journeys.stage import Json, Stage

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
DOCUMENT = json.loads((FOLDER / "client-door.openapi.json").read_text())
PATHS = [
    pytest.param(path, id=path.rpartition("/")[2])
    for path, told in DOCUMENT["paths"].items()
    if "post" in told
]
TEXT = "text/plain; charset=utf-8"
RULE = {"name": "door", "media_type": TEXT, "template": "Open the door, {time}"}
PREFIX = "/client/v1/"
ANSWERS = ("transactions.approve", "transactions.decline")
# A request that nobody could read, or that was not authenticated, has no proof in its answer.
UNPROVED = (400, 401, 413, 415)
EXAMPLES = [5, pytest.param(60, marks=pytest.mark.long)]


class Signing(requests.auth.AuthBase):
    """Puts the AUTHCODE over the exact body into each request."""

    def __init__(self, phones: "Phones") -> None:
        self.phones = phones

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign one request."""
        body = request.body or b""
        raw = body.encode() if isinstance(body, str) else body
        self.authcode = self.phones.phone.authcode(raw)
        request.headers[PROOF_HEADER] = b64(self.authcode)
        return request


class Phones:
    """The phones of one bank at the door: one that is in use, others that are enrolled when they are needed."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.door = Door(stage.gateway.client_url, stage.gateway.authority.ca_file, "/client/v1/openapi.json")
        self.signing = self.door.session.auth = Signing(self)
        self.bank = stage.bank_with(authentication_rules=[RULE])
        self.registered = self.phone = stage.phone(bank=self.bank)
        self.pending, self.target = self.another(), self.another()
        self.spoilt = False
        self.wrap_key = rsa.generate_private_key(public_exponent=65537, key_size=WRAP_KEY_BITS)

    def another(self) -> str:
        """A transaction that waits for the phone in use."""
        made = self.bank.create_transaction(self.registered.account.user, text="Pay")
        return str(made["id"])

    def decision(self, operation: Operation) -> Json:
        """The right answer to a new transaction."""
        return self.phone.confirmation_body(self.stage.ask(self.phone, bank=self.bank), operation)

    def registration(self) -> Json:
        """The key of the phone that is not registered yet."""
        return self.phone.registration_body()

    def authentication(self) -> Json:
        """Content by the rule, with its proofs."""
        content = f"Open the door, {format_time(self.phone.now())}".encode()
        message = self.phone.message(Operation.AUTHENTICATE, TEXT, hashlib.sha256(content).digest())
        return {"media_type": TEXT, "content": b64(content), **self.phone.proofs(message)}

    def push(self) -> Json:
        """An address of no provider that the gateway knows."""
        return {"push": {"provider": "none", "identifier": secrets.token_hex(8)}}

    def real(self) -> dict[str, Callable[[], Json]]:
        """By action, a body that does not fail."""
        part = {"transaction": self.pending, "offset": 0, "length": 1}
        return {
            "keys.register": self.registration,
            "keys.renew": lambda: self.phone.renewal_body(self.wrap_key),
            "transactions.pending": dict,
            "transactions.get": lambda: {"transaction": self.pending},
            "transactions.content": lambda: part,
            "transactions.approve": lambda: self.decision(Operation.APPROVE),
            "transactions.decline": lambda: self.decision(Operation.DECLINE),
            "authentications.create": self.authentication,
            "devices.update": self.push,
        }

    def amend(self, action: str, mode: GenerationMode) -> Callable[[Draw, Case], None]:
        """How requests of this action are made to come from the phone, and put right or not."""
        told = DOCUMENT["paths"][PREFIX + action]["post"]["requestBody"]["content"]["application/json"]
        members = told["schema"]["properties"]

        def amend(draw: Draw, case: Case) -> None:
            self.make_ready(action)
            if not isinstance(case.body, dict):
                return
            for name, value in self.fresh().items():
                if jsonschema.Draft202012Validator(members[name]).is_valid(case.body.get(name)):
                    case.body[name] = value
            known = self.target if action in ANSWERS else self.pending
            put_known(draw, case.body.get("body"), {"transaction": [known]})
            if mode is ALLOWED and draw(YES_OR_NO):
                inner = SimpleNamespace(body=case.body["body"])
                put_real(draw, inner, {"body": self.real()[action]()})
                case.body["body"] = inner.body

        return amend

    def fresh(self) -> Json:
        """What makes a request one of this phone and moment."""
        nonce = base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode()
        return {"keyset": self.phone.account.keyset, "time": format_time(self.phone.now()), "nonce": nonce}

    def make_ready(self, action: str) -> None:
        """Take the phone that may ask this: to register, one that was not refused yet."""
        if action != "keys.register":
            self.phone = self.registered
        elif self.phone is self.registered or self.spoilt:
            self.phone, self.spoilt = self.stage.enrol(self.stage.user(self.bank), self.bank), False

    def after(self, answer: schemathesis.Response) -> None:
        """Check the proof of the answer, and clear what a wrong request led to."""
        seen = Answer(
            status=answer.status_code,
            headers=httpx2.Headers(
                [(name, each) for name, values in answer.headers.items() for each in values]
            ),
            body=answer.content,
            authcode=self.signing.authcode,
        )
        if PROOF_HEADER in seen.headers or seen.status not in UNPROVED:
            assert seen.proved_under(self.phone.keys.kauth)
        if seen.status >= requests.codes.bad_request:
            self.spoilt = True
            self.bank.unblock(self.phone.account.user)
        if self.bank.transaction(self.target)["status"] != "pending":
            self.target = self.another()


@pytest.fixture(scope="module")
def phones(stage: Stage) -> Iterator[Phones]:
    made = Phones(stage)
    yield made
    made.door.close()


def test_the_document_is_told_to_everybody_as_it_is_published(phones: Phones):
    assert phones.door.document == DOCUMENT


def test_of_a_wrong_method_the_answer_names_those_of_the_document(phones: Phones):
    assert phones.door.methods_answered() == {path: set(told) for path, told in DOCUMENT["paths"].items()}


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("path", PATHS)
def test_what_the_document_allows_is_answered_as_it_says(phones: Phones, path: str, examples: int):
    action = path.removeprefix(PREFIX)
    amend = phones.amend(action, ALLOWED)
    statuses = phones.door.call(path, "post", ALLOWED, examples, amend=amend, after=phones.after)
    assert reached(statuses), f"give {action} a body that does not fail: {statuses}"


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("path", PATHS)
def test_what_the_document_forbids_is_refused_as_it_says(phones: Phones, path: str, examples: int):
    amend = phones.amend(path.removeprefix(PREFIX), FORBIDDEN)
    phones.door.call(path, "post", FORBIDDEN, examples, amend=amend, after=phones.after)
