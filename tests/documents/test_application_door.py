"""Does the application door do what its document says, whatever is sent to it?"""

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from schemathesis import Case, GenerationMode

from tests.counterparts.bank import Bank
from tests.counterparts.phone import Phone
from tests.counterparts.phone_wire import Operation, format_time
from tests.documents.calling import ALLOWED, FORBIDDEN, YES_OR_NO, Door, Draw, put_known, put_real, reached
from tests.journeys.stage import Json, Stage

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
DOCUMENT = json.loads((FOLDER / "application-door.openapi.json").read_text())


def _takes_something(path: str, method: str) -> bool:
    operation = DOCUMENT["paths"][path][method]
    # Of a body that may be anything, nothing is forbidden by its form.
    body = operation.get("requestBody", {}).get("content", {})
    return bool(operation.get("parameters")) or "application/json" in body


ENDLESS = "followEvents"  # a stream; it has tests of its own
OPERATIONS = [
    pytest.param(path, method, id=operation["operationId"])
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if operation["operationId"] != ENDLESS
]
TAKING = [each for each in OPERATIONS if _takes_something(*each.values)]
TEXT = "text/plain; charset=utf-8"
RULE = {"name": "door", "media_type": TEXT, "template": "Open the door, {time}"}
POLICY = {"offline_allowed": True, "authentication_rules": [RULE]}
EXAMPLES = [5, pytest.param(60, marks=pytest.mark.long)]


class Bankers:
    """A bank at the door, with a user whose phone has answered, and requests of which every one does not fail."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        keys = stage.gateway.add_application(policy=POLICY)
        self.door = Door(stage.gateway.application_url, stage.gateway.authority.ca_file, "/openapi.json")
        self.door.session.headers["Authorization"] = f"Bearer {keys['api_key']}"
        self.bank: Bank = stage.gateway.bank(keys["api_key"])
        self.phone: Phone = stage.phone(bank=self.bank)
        self.user = self.phone.account.user
        shown = stage.ask(self.phone, bank=self.bank)
        self.phone.approve(shown)
        self.answered = self.bank.transaction(shown.transaction)
        self.pending = self.bank.create_transaction(self.user, text="Pay")["id"]
        self.device = self.bank.user(self.user)["keysets"][0]["device"]["id"]
        wrap_key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
        self.wrap_key = base64.b64encode(
            wrap_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ).decode()
        self.moment = 0
        self.authentication = self.bank.pass_authentication_on(**self.passed_on()["body"])["id"]
        self.others = [stage.user(self.bank) for _ in range(2)]

    def known(self, *, lasting: bool) -> dict[str, list[str]]:
        """Ids by the names they have in a request; other users than ours where they would not last."""
        users = [self.user, *self.others] if lasting else self.others
        transactions, keysets = [self.pending, self.answered["id"]], [self.phone.account.keyset]
        known = {"user": [self.user], "transaction": transactions, "keyset": keysets, "device": [self.device]}
        paths = {"user_id": users, "transaction_id": transactions, "keyset_id": keysets}
        return {**known, **paths, "device_id": [self.device], "authentication_id": [self.authentication]}

    def another(self) -> dict[str, str]:
        """A new user, as a value of the path."""
        return {"user_id": self.stage.user(self.bank)}

    def asked(self) -> dict[str, str]:
        """A new transaction, as a value of the path."""
        made = self.bank.create_transaction(self.user, text="Pay", confirmation={"offline": True})
        return {"transaction_id": made["id"]}

    def keys(self) -> Json:
        """New keys, in one of the ways that they can travel."""
        ways = [
            {"delivery": "qr"},
            {"delivery": "online", "secret": secrets.token_hex(16)},
            {"delivery": "sealed", "wrap_key": self.wrap_key, "oaep": ["SHA-1", "SHA-256"]},
        ]
        return {"path_parameters": self.another(), "body": secrets.choice(ways)}

    def activation(self) -> Json:
        """Keys whose activation code was not fetched yet."""
        path = self.another()
        keyset = self.bank.issue_keyset(path["user_id"], "qr_and_code").id
        return {"path_parameters": {**path, "keyset_id": keyset}, "body": {}}

    def phone_to_come(self) -> Json:
        """A device for which keys were issued."""
        path = self.another()
        device = self.bank.issue_keyset(path["user_id"]).keyset["device"]["id"]
        return {"path_parameters": {**path, "device_id": device}}

    def short_code(self) -> Json:
        """The right code for a transaction that waits."""
        path = self.asked()
        return {
            "path_parameters": path,
            "body": {"code": self.phone.short_code(self.phone.show(path["transaction_id"]))},
        }

    def passed_on(self) -> Json:
        """Content that the phone made by the rule, with its proofs."""
        self.moment += 1
        content = f"Open the door, {format_time(self.phone.now() + timedelta(seconds=self.moment))}"
        digest = hashlib.sha256(content.encode()).digest()
        proofs = self.phone.proofs(self.phone.message(Operation.AUTHENTICATE, TEXT, digest))
        return {"body": {"user": self.user, "media_type": TEXT, "text": content, **proofs}}

    def evidence(self) -> Json:
        """The proofs of the answer that was given."""
        given = self.answered["confirmation"]
        proofs = {name: given[name] for name in ("operation", "step", "code", "signature")}
        return {"body": {"transaction": self.answered["id"], **proofs}}

    def real(self) -> dict[str, Callable[[], Json]]:
        """By operation, a request that does not fail."""
        pay = {"user": self.user, "media_type": "text/plain", "text": "Pay", "title": "Payment"}
        return {
            "passAuthenticationOn": self.passed_on,
            "getPolicyVersion": lambda: {"path_parameters": {"version": "1"}},
            "getDevice": self.phone_to_come,
            "removeDevice": self.phone_to_come,
            "deleteUser": lambda: {"path_parameters": self.another()},
            "blockUser": lambda: {"path_parameters": self.another(), "body": {"reason": "lost"}},
            "unblockUser": lambda: {"path_parameters": self.another(), "body": {}},
            "putUserSettings": lambda: {"path_parameters": self.another(), "body": {"settings": {}}},
            "issueKeyset": self.keys,
            "fetchActivationCode": self.activation,
            "createTransaction": lambda: {"body": pay},
            "cancelTransaction": lambda: {"path_parameters": self.asked(), "body": {"reason": "error"}},
            "getTransactionQr": lambda: {"path_parameters": self.asked()},
            "submitCode": self.short_code,
            "verifySignature": self.evidence,
            "putPolicy": lambda: {"body": {"policy": {**POLICY, "digits": 6}}},
        }

    def amend(self, name: str, method: str, mode: GenerationMode) -> Callable[[Draw, Case], None]:
        """How requests of this operation are put right, or not."""
        real = self.real().get(name)

        def amend(draw: Draw, case: Case) -> None:
            for values in (case.path_parameters, case.query, case.body):
                put_known(draw, values, self.known(lasting=method == "get"))
            if isinstance(case.query, dict) and isinstance(case.query.get("wait"), int):
                case.query["wait"] %= 1  # nobody is going to answer
            if real is not None and mode is ALLOWED and draw(YES_OR_NO):
                put_real(draw, case, real())

        return amend


@pytest.fixture(scope="module")
def bankers(stage: Stage) -> Iterator[Bankers]:
    made = Bankers(stage)
    yield made
    made.door.close()
    made.bank.close()


def test_the_document_is_told_to_everybody_as_it_is_published(bankers: Bankers):
    assert bankers.door.document == DOCUMENT


def test_of_a_wrong_method_the_answer_names_those_of_the_document(bankers: Bankers):
    assert bankers.door.methods_answered() == {path: set(told) for path, told in DOCUMENT["paths"].items()}


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_what_the_document_allows_is_answered_as_it_says(
    bankers: Bankers, path: str, method: str, examples: int
):
    name = DOCUMENT["paths"][path][method]["operationId"]
    amend = bankers.amend(name, method, ALLOWED)
    statuses = bankers.door.call(path, method, ALLOWED, examples, amend=amend)
    assert reached(statuses), f"give {name} a request that does not fail: {statuses}"


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize(("path", "method"), TAKING)
def test_what_the_document_forbids_is_refused_as_it_says(
    bankers: Bankers, path: str, method: str, examples: int
):
    name = DOCUMENT["paths"][path][method]["operationId"]
    bankers.door.call(path, method, FORBIDDEN, examples, amend=bankers.amend(name, method, FORBIDDEN))
