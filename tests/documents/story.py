"""What does each call of both doors answer in one short story, of which the documents' examples are the record?"""

import re
from contextlib import closing
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.api.application.calls import CALLS
from tests.counterparts.bank import Bank
from tests.counterparts.phone import Phone
from tests.counterparts.phone_wire import Operation, format_time
from tests.journeys.stage import Json, Stage

USER = "customer-1"
TEXT = "text/plain; charset=utf-8"
RULE = {"name": "login", "media_type": TEXT, "template": "Log in to Example Bank, {user}, {time}"}
PAY = {"user": USER, "title": "Payment", "media_type": TEXT, "text": "Pay 1,250.00 EUR to Jörg Example"}
BY_NAME = {call.name: call for call in CALLS}
# What would be long, or look like a secret that somebody lost, is replaced.
SECRET = "whsec_ZXhhbXBsZSBvZiBhIHNlY3JldCwgMzIgYnl0ZXMgbG8="
PICTURE = re.compile(r">.*</svg>", re.DOTALL)


class Story:
    """A bank, its customer and the customer's phone; `application` and `client` are what they were answered."""

    def __init__(self, stage: Stage) -> None:
        policy = {"offline_allowed": True, "devices_most": 2, "authentication_rules": [RULE]}
        self.stage = stage
        self.bank: Bank = stage.gateway.bank(stage.gateway.add_application(policy=policy)["api_key"])
        self.application: dict[str, Json] = {}
        self.client: dict[str, Json] = {}

    def told(self) -> dict[str, dict[str, Json]]:
        """Play it."""
        with closing(self.bank):
            self._ask("createUser", {})
            keyset, phone = self._enrol()
            with closing(phone):
                self._confirm(phone)
                self._authenticate(phone)
                self._look_back()
                self._other_ways(phone)
            self._end(keyset)
        return {"application": self.application, "client": self.client}

    def _ask(self, name: str, body: object = None, **path: str) -> Any:
        call = BY_NAME[name]
        address = call.path.format(**{"user_id": USER, **path})
        headers = {"Idempotency-Key": name} if call.key_required else {}
        answer = self.bank.request(call.method, address, json=body, headers=headers)
        assert answer.status_code in call.statuses, answer.text
        self.application[name] = answer.json()
        return self.application[name]

    def _phone(self, phone: Phone, action: str, body: object) -> Any:
        self.client[action] = phone.call(action, lambda: body)
        return self.client[action]

    def _enrol(self) -> tuple[str, Phone]:
        issued = self._ask("issueKeyset", {"delivery": "qr_and_code", "pictures": False})
        keyset = str(issued["keyset"]["id"])
        code = self._ask("fetchActivationCode", {}, keyset_id=keyset)["activation_code"]
        phone = self.stage.personalise(issued["package"], activation_code=code)
        push = {"provider": "fcm", "identifier": "an address"}
        self.client["keys.register"] = phone.register(push=push)
        self._phone(phone, "devices.update", {"push": push})
        return keyset, phone

    def _confirm(self, phone: Phone) -> None:
        made = self._ask("createTransaction", {**PAY, "confirmation": {"offline": True}})["id"]
        form = self._ask("getTransactionQr", transaction_id=made)["qr"]
        form["svg"] = PICTURE.sub(">…</svg>", form["svg"])
        self._phone(phone, "transactions.pending", {})
        self._phone(phone, "transactions.get", {"transaction": made})
        self._phone(
            phone, "transactions.approve", phone.confirmation_body(phone.show(made), Operation.APPROVE)
        )
        given = self._ask("getTransaction", transaction_id=made)["confirmation"]
        proofs = {name: given[name] for name in ("step", "code", "signature")}
        self._ask("verifySignature", {"transaction": made, "text": PAY["text"], **proofs})

    def _authenticate(self, phone: Phone) -> None:
        content = f"Log in to Example Bank, {USER}, {format_time(phone.now())}"
        message = phone.message(Operation.AUTHENTICATE, TEXT, sha256(content.encode()).digest())
        given = {"user": USER, "media_type": TEXT, "text": content, **phone.proofs(message)}
        made = self._ask("passAuthenticationOn", given)["id"]
        self._ask("getAuthentication", authentication_id=made)
        self._ask("listAuthentications")

    def _look_back(self) -> None:
        user = self._ask("getUser")
        device = user["keysets"][0]["device"]["id"]
        self._ask("getDevice", device_id=device)
        for name in ("listKeysets", "listDevices", "listAnswers", "listTransactions", "listEvents"):
            self._ask(name)
        settled = ("keyset.registered", "transaction.settled")
        events = self.application["listEvents"]
        events["events"] = [each for each in events["events"] if each["type"] in settled]
        self.application["getReceiptKeys"] = self.bank.jwks()
        self._ask("getPolicy")
        self._ask("listPolicyVersions")
        self._ask("getPolicyVersion", version="1")

    def _other_ways(self, phone: Phone) -> None:
        self.application["uploadContent"] = self.bank.upload(b"%PDF-1.7\n", "application/pdf")
        digits = self.bank.create_transaction(USER, text="Pay 20 EUR to Bob", confirmation={"offline": True})[
            "id"
        ]
        self._ask("submitCode", {"code": phone.short_code(phone.show(digits))}, transaction_id=digits)
        no = self.bank.create_transaction(USER, text="Pay 30 EUR to Eve")["id"]
        self._phone(phone, "transactions.decline", phone.confirmation_body(phone.show(no), Operation.DECLINE))
        late = self.bank.create_transaction(USER, text="Pay 40 EUR to Joe")["id"]
        self._ask("cancelTransaction", {"reason": "the order was withdrawn"}, transaction_id=late)
        content = f"Log in to Example Bank, {USER}, {format_time(phone.now().replace(microsecond=0))}"
        self.client["authentications.create"] = phone.authenticate(content.encode(), TEXT)
        wrap_key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
        self._phone(phone, "keys.renew", phone.renewal_body(wrap_key))

    def _end(self, keyset: str) -> None:
        self._ask("putUserSettings", {"settings": {"password_length": 12, "forbid_biometrics": True}})
        self._ask("putPolicy", {"policy": {"offline_allowed": True, "devices_most": 3}})
        self._ask("rotateWebhookSecret", {})["secret"] = SECRET
        self._ask("blockUser", {"reason": "phone stolen"})
        self._ask("unblockUser", {})
        device = next(each["device"]["id"] for each in self.bank.keysets(USER) if each["id"] == keyset)
        self._ask("removeDevice", device_id=device)
        self._ask("deleteUser")
