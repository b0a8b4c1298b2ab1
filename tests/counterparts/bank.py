"""What does a bank's application system say to the application door?

Every method is one call and returns the JSON as it came. A refusal is raised as `BankRefused`; `request`
gives the raw answer, for tests that send what no bank would.
"""

import base64
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

import httpx2

from tests.counterparts.bank_line import BankLine, BankRefused, Json

__all__ = ["Bank", "BankRefused", "IssuedKeyset"]

PENDING = "pending"
LONGEST_WAIT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class IssuedKeyset:
    """What the gateway hands out once: the keyset's record, the package and its QR code."""

    keyset: Json
    package: str
    qr_text: str
    qr_svg: str
    qr_png: bytes

    @property
    def id(self) -> str:
        """The keyset's id."""
        return str(self.keyset["id"])


class Bank(BankLine):
    """One application system and everything it may ask."""

    # Users and keys

    def create_user(self, user: str) -> Json:
        """Create the user, or find it there."""
        return self.call("PUT", f"/v1/users/{_id(user)}", {})

    def user(self, user: str) -> Json:
        """One user with its keysets."""
        return self.call("GET", f"/v1/users/{_id(user)}")

    def delete_user(self, user: str) -> Json:
        """Delete the user for good."""
        return self.call("DELETE", f"/v1/users/{_id(user)}")

    def block(self, user: str, reason: str = "reported lost") -> Json:
        """Block the user."""
        return self.call("POST", f"/v1/users/{_id(user)}/block", {"reason": reason})

    def unblock(self, user: str) -> Json:
        """Unblock the user."""
        return self.call("POST", f"/v1/users/{_id(user)}/unblock", {})

    def issue_keyset(
        self, user: str, delivery: str = "qr", *, idempotency_key: str | None = None, **more: object
    ) -> IssuedKeyset:
        """Have keys made for the user; `more` are further members, such as secret="..." for `online`."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        body = {"delivery": delivery, **more}
        found = self.call("POST", f"/v1/users/{_id(user)}/keysets", body, headers=headers)
        qr = found.get("qr") or {"text": "", "svg": "", "png": ""}
        return IssuedKeyset(
            keyset=found["keyset"],
            package=found["package"],
            qr_text=qr["text"],
            qr_svg=qr["svg"],
            qr_png=base64.b64decode(qr["png"]),
        )

    def activation_code(self, user: str, keyset: str) -> str:
        """Fetch the second part of a `qr_and_code` delivery; given once."""
        found = self.call("POST", f"/v1/users/{_id(user)}/keysets/{_id(keyset)}/activation-code", {})
        return str(found["activation_code"])

    def keysets(self, user: str) -> list[Json]:
        """All keysets of the user."""
        return _list(self.call("GET", f"/v1/users/{_id(user)}/keysets"), "keysets")

    def put_settings(self, user: str, **settings: object) -> Json:
        """Decide flags and password rules for the user alone."""
        return self.call("PUT", f"/v1/users/{_id(user)}/settings", {"settings": settings})

    def devices(self, user: str) -> list[Json]:
        """All devices of the user."""
        return _list(self.call("GET", f"/v1/users/{_id(user)}/devices"), "devices")

    def device(self, user: str, device: str) -> Json:
        """One device of the user."""
        return self.call("GET", f"/v1/users/{_id(user)}/devices/{_id(device)}")

    def remove_device(self, user: str, device: str) -> Json:
        """Remove one device of the user."""
        return self.call("DELETE", f"/v1/users/{_id(user)}/devices/{_id(device)}")

    # Transactions

    def upload(
        self, content: bytes | Iterable[bytes], media_type: str = "application/pdf", **headers: str
    ) -> Json:
        """Hand in content by itself, for one transaction; pieces go out one after the other."""
        return self.call(
            "POST", "/v1/contents", content=content, headers={"Content-Type": media_type, **headers}
        )

    def create_transaction(
        self,
        user: str,
        text: str | None = None,
        *,
        content: bytes | None = None,
        media_type: str = "text/plain; charset=utf-8",
        idempotency_key: str | None = None,
        **more: object,
    ) -> Json:
        """Ask the user to confirm a text or a document.

        `more`: title, kind, expires_in, callback, confirmation, or content_id of what was handed in by itself.
        Without a key given each call is a new one.
        """
        body: Json = {"user": user, **more}
        if "content_id" not in more:
            body["media_type"] = media_type
        if text is not None:
            body["text"] = text
        if content is not None:
            body["content"] = base64.b64encode(content).decode("ascii")
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self.call("POST", "/v1/transactions", body, headers=headers)

    def transaction(self, transaction: str, *, wait: int | None = None) -> Json:
        """One transaction; with `wait` the answer is held back, 30 s at most, while it is pending."""
        return self.call("GET", f"/v1/transactions/{_id(transaction)}", params={"wait": wait})

    def wait(self, transaction: str, *, seconds: float = 30) -> Json:
        """Wait until the transaction is no longer pending, or the time is over."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            found = self.transaction(transaction, wait=min(LONGEST_WAIT_SECONDS, max(0, round(left))))
            if found["status"] != PENDING or time.monotonic() >= end:
                return found

    def transactions(self, **query: object) -> Json:
        """A page of transactions: user, status, limit, after."""
        return self.call("GET", "/v1/transactions", params=query)

    def cancel(self, transaction: str, reason: str | None = None) -> Json:
        """Take the transaction back."""
        body = {} if reason is None else {"reason": reason}
        return self.call("POST", f"/v1/transactions/{_id(transaction)}/cancel", body)

    def submit_code(self, transaction: str, code: str) -> Json:
        """Hand in the short code that the user read from the phone."""
        return self.call("POST", f"/v1/transactions/{_id(transaction)}/code", {"code": code})

    def transaction_qr(self, transaction: str) -> Json:
        """The offline form of the transaction."""
        return self.call("GET", f"/v1/transactions/{_id(transaction)}/qr")

    def verify(self, transaction: str | None = None, **evidence: object) -> Json:
        """Verify proofs, now or years later: operation, content or text, step, code, signature."""
        about = {} if transaction is None else {"transaction": transaction}
        return self.call("POST", "/v1/signatures/verify", {**about, **evidence})

    # Authentications by content that a phone made

    def pass_authentication_on(self, user: str, **given: object) -> Json:
        """Have the user authenticated by what the phone gave the bank."""
        return self.call("POST", "/v1/authentications", {"user": user, **given})

    def authentication(self, authentication: str) -> Json:
        """One authentication."""
        return self.call("GET", f"/v1/authentications/{_id(authentication)}")

    def authentications(self, user: str, **query: object) -> Json:
        """A page of the user's authentications: after, limit."""
        return self.call("GET", f"/v1/users/{_id(user)}/authentications", params=query)

    # The rest

    def events(self, **query: object) -> Json:
        """A page of events: user, transaction, type, after, limit."""
        return self.call("GET", "/v1/events", params=query)

    def policy(self) -> Json:
        """The application's policy."""
        return self.call("GET", "/v1/policy")

    def put_policy(self, policy: Json) -> Json:
        """Replace the policy."""
        return self.call("PUT", "/v1/policy", policy)

    def policy_version(self, version: int) -> Json:
        """The policy that had this version."""
        return self.call("GET", f"/v1/policy/versions/{version}")

    def policy_versions(self, **query: object) -> Json:
        """A page of the policies there were: after, limit."""
        return self.call("GET", "/v1/policy/versions", params=query)

    def new_webhook_secret(self) -> Json:
        """Rotate the secret of the callbacks' seals."""
        return self.call("POST", "/v1/webhook-secret", {})

    def jwks(self) -> Json:
        """The public keys of the receipts."""
        return self.call("GET", "/.well-known/jwks.json")

    def openapi(self) -> Json:
        """The published description of this door."""
        return self.call("GET", "/openapi.json")

    def ready(self) -> bool:
        """Whether the gateway says that it can work."""
        return self.request("GET", "/readyz").status_code == httpx2.codes.OK


def _id(name: str) -> str:
    """An id as one segment of a path."""
    return quote(name, safe="")


def _list(found: Json, name: str) -> list[Json]:
    rows = found[name]
    assert isinstance(rows, list), name
    return rows
