"""What does each call of the application door, and each action of the client door, answer for each state of a user?

The core document says what blocking and deleting mean; this is the whole of it, call by call. A call that is new has no
line here and fails the test.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.api.client.actions import ACTIONS
from tests.counterparts.bank import Bank
from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Shown
from tests.counterparts.phone_line import PROOF_HEADER
from tests.counterparts.phone_tlv import b64
from tests.counterparts.phone_wire import Operation, format_time
from tests.journeys.stage import DATABASES, Json, Stage

# What is answered depends on no database: the quickest.
pytestmark = pytest.mark.parametrize("stage", DATABASES[:1], indirect=True, scope="session")
TEXT = "text/plain; charset=utf-8"
STATES = ("active", "blocked", "deleted")
RULES = [
    {"name": name, "media_type": TEXT, "template": f"{name} {{user}}, {{time}}"}
    for name in ("phone", "branch")
]

# In this order: what changes the user comes last.
CALLS: dict[str, tuple[str, str, str]] = {
    "getUser": ("200", "200", "200"),
    "listKeysets": ("200", "200", "200"),
    "listDevices": ("200", "200", "200"),
    "getDevice": ("200", "200", "200"),
    "listAnswers": ("200", "200", "200"),
    "listAuthentications": ("200", "200", "200"),
    "getAuthentication": ("200", "200", "200"),
    "listTransactions": ("200", "200", "200"),
    "getTransaction": ("200", "200", "200"),
    "listEvents": ("200", "200", "200"),
    "followEvents": ("200", "200", "200"),
    "verifySignature": ("200", "200", "200"),
    "createTransaction": ("201", "user_blocked", "user_deleted"),
    "passAuthenticationOn": ("201", "user_blocked", "user_deleted"),
    "getTransactionQr": ("200", "200", "transaction_settled"),  # reading; what is made of it is refused below
    "submitCode": ("200", "user_blocked", "transaction_settled"),
    "cancelTransaction": ("200", "200", "transaction_settled"),
    "fetchActivationCode": ("200", "user_blocked", "user_deleted"),
    "putUserSettings": ("200", "user_blocked", "user_deleted"),
    "issueKeyset": ("201", "user_blocked", "user_deleted"),
    "removeDevice": ("200", "200", "200"),
    "createUser": ("200", "200", "user_deleted"),
    "blockUser": ("200", "200", "user_deleted"),
    "unblockUser": ("200", "200", "user_deleted"),
    "deleteUser": ("200", "200", "200"),
}
OF_NO_USER = {
    "getPolicy", "putPolicy", "listPolicyVersions", "getPolicyVersion", "rotateWebhookSecret", "uploadContent",
}  # fmt: skip
OF_NOBODY = {"getDocument", "getReceiptKeys", "livez", "readyz"}  # without credentials
# A phone learns no more than that it is not recognised.
ACTIONS_OF_ACTIVE = {
    "transactions.pending": 200,
    "transactions.get": 200,
    "transactions.content": 200,
    "devices.update": 200,
    "authentications.create": 200,
    "transactions.approve": 200,
    "transactions.decline": 200,
    "keys.renew": 200,
    "keys.register": 200,
}


@pytest.fixture(scope="module")
def wrap_key() -> rsa.RSAPrivateKey:
    """A key for renewals."""
    return rsa.generate_private_key(65537, 3072)


@pytest.fixture(scope="module")
def bank(stage: Stage) -> Bank:
    """A bank whose policy leaves everything open."""
    return stage.bank_with(offline_allowed=True, authentication_rules=RULES)


@dataclass(frozen=True)
class Subject:
    """A user with all that a call could ask for, and two of the same state that have keys on their way."""

    bank: Bank
    phone: Phone
    fresh: Phone  # of another user, not registered yet
    waiting: tuple[str, str]  # a third user and a keyset whose code was not fetched
    confirmed: Json
    pending: list[Shown]
    authentication: str

    @property
    def user(self) -> str:
        """The first of them."""
        return self.phone.account.user

    def own(self, rule: str) -> bytes:
        """Content that the phone makes by a rule."""
        return f"{rule} {self.user}, {format_time(self.phone.now())}".encode()

    def passed_on(self) -> Json:
        """What the phone gives the application to authenticate with."""
        content = self.own("branch")
        message = self.phone.message(Operation.AUTHENTICATE, TEXT, hashlib.sha256(content).digest())
        return {"user": self.user, "media_type": TEXT, "content": b64(content), **self.phone.proofs(message)}


def _subject(stage: Stage, bank: Bank, state: str) -> Subject:
    phone, fresh = stage.phone(bank=bank), stage.enrol(stage.user(bank), bank)
    waiting = stage.user(bank)
    code_waits = bank.issue_keyset(waiting, "qr_and_code").id
    shown = [stage.ask(phone, bank=bank, confirmation={"offline": True}) for _ in range(5)]
    phone.approve(shown[0])
    confirmed = bank.transaction(shown[0].transaction)
    made = Subject(bank, phone, fresh, (waiting, code_waits), confirmed, shown[1:], "")
    found = phone.authenticate(made.own("phone"))
    for user in (phone.account.user, fresh.account.user, waiting):
        if state == "blocked":
            bank.block(user)
        elif state == "deleted":
            bank.delete_user(user)
    return Subject(bank, phone, fresh, (waiting, code_waits), confirmed, shown[1:], found["authentication"])


def _request(subject: Subject, name: str, method: str, path: str) -> httpx2.Response:
    waiting, keyset = subject.waiting
    transaction = {"getTransactionQr": 0, "submitCode": 0, "cancelTransaction": 1}.get(name, 2)
    device = subject.bank.keysets(subject.user)[0]["device"]["id"]
    names = {
        "user_id": waiting if name == "fetchActivationCode" else subject.user,
        "keyset_id": keyset,
        "device_id": device,
        "transaction_id": subject.pending[transaction].transaction,
        "authentication_id": subject.authentication,
    }
    signed = {key: subject.confirmed["confirmation"][key] for key in ("step", "code", "signature")}
    bodies: dict[str, Callable[[], Any]] = {
        "createUser": dict,
        "blockUser": dict,
        "unblockUser": dict,
        "putUserSettings": lambda: {"settings": {}},
        "issueKeyset": lambda: {"delivery": "qr"},
        "fetchActivationCode": dict,
        "createTransaction": lambda: {"user": subject.user, "media_type": TEXT, "text": "Pay"},
        "cancelTransaction": dict,
        "submitCode": lambda: {"code": subject.phone.short_code(subject.pending[0])},
        "passAuthenticationOn": subject.passed_on,
        "verifySignature": lambda: {"transaction": subject.confirmed["id"], **signed},
    }
    body = bodies[name]() if name in bodies else None
    query = {"user": subject.user} if name in ("listTransactions", "listEvents", "followEvents") else None
    headers = {"Idempotency-Key": f"{name}-{subject.user}"}
    method = "HEAD" if name == "followEvents" else method
    return subject.bank.request(method, path.format(**names), json=body, params=query, headers=headers)


@pytest.mark.parametrize("state", STATES)
def test_every_call_of_the_application_door_for_a_user_of_each_state(
    stage: Stage, bank: Bank, state: str
) -> None:
    paths = bank.openapi()["paths"]
    calls = {
        call["operationId"]: (method.upper(), path)
        for path, methods in paths.items()
        for method, call in methods.items()
    }
    assert set(calls) == set(CALLS) | OF_NO_USER | OF_NOBODY
    subject = _subject(stage, bank, state)
    found = {}
    for name in CALLS:
        answer = _request(subject, name, *calls[name])
        ok = answer.status_code < 400
        found[name] = str(answer.status_code) if ok else answer.json()["code"]
    assert found == {name: expected[STATES.index(state)] for name, expected in CALLS.items()}


@pytest.mark.parametrize("state", STATES)
def test_every_action_of_the_client_door_for_a_user_of_each_state(
    stage: Stage, bank: Bank, state: str, wrap_key: rsa.RSAPrivateKey
) -> None:
    assert set(ACTIONS) == set(ACTIONS_OF_ACTIVE)
    subject = _subject(stage, bank, state)
    phone, pending = subject.phone, subject.pending
    transaction = {"transaction": pending[2].transaction}
    content = subject.own("branch")
    login = phone.message(Operation.AUTHENTICATE, TEXT, hashlib.sha256(content).digest())
    bodies: dict[str, Callable[[], Json]] = {
        "transactions.pending": dict,
        "transactions.get": lambda: transaction,
        "transactions.content": lambda: {**transaction, "offset": 0, "length": 3},
        "devices.update": lambda: {"push": None},
        "authentications.create": lambda: {
            "media_type": TEXT, "content": b64(content), **phone.proofs(login)
        },
        "transactions.approve": lambda: phone.confirmation_body(pending[2], Operation.APPROVE),
        "transactions.decline": lambda: phone.confirmation_body(pending[3], Operation.DECLINE),
        "keys.renew": lambda: phone.renewal_body(wrap_key),
        "keys.register": subject.fresh.registration_body,
    }  # fmt: skip
    found = {}
    for action in ACTIONS_OF_ACTIVE:
        asker = subject.fresh if action == "keys.register" else phone
        answer = asker.request(action, bodies[action]())
        found[action] = answer.status
        assert (PROOF_HEADER in answer.headers) is (state == "active")
    assert found == (ACTIONS_OF_ACTIVE if state == "active" else dict.fromkeys(ACTIONS_OF_ACTIVE, 401))
    if state != "active":
        assert bank.transaction(pending[2].transaction)["attempts"] == []
