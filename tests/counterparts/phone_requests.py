"""How does the phone build, sign and send one request, and when does it believe the answer?

The steps are separate (`proofs` -> `envelope` -> `send` -> `open_answer`), so that a test can change one of
them and leave the others as they are.
"""

import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Self

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.counterparts.phone_account import Account, Shown, wall_clock
from tests.counterparts.phone_keys import Keys
from tests.counterparts.phone_line import (
    ERRORS_FROM,
    PREFIX,
    PROOF_HEADER,
    UNAUTHORIZED,
    Answer,
    Clock,
    Headers,
    Line,
    NetworkFailure,
    NotRecognised,
    Refused,
)
from tests.counterparts.phone_tlv import b64
from tests.counterparts.phone_wire import Signed, format_time, mac, sign, step_at

MOST_CORRECTION = timedelta(hours=24)
WORTH_CORRECTING = timedelta(seconds=30)
REMOVED = object()  # as an override: leave the member out


class Requests:
    """The keys of one account, unlocked, and its line to the gateway. Close it, or use it in a `with`."""

    def __init__(self, account: Account, keys: Keys, *, clock: Clock = wall_clock) -> None:
        self.account, self.keys, self.clock = account, keys, clock
        self.offset = timedelta(0)
        self.device: dict[str, object] = {"uv": "password"}
        self.private_key = keys.private_key
        self.line = Line(account.url, ca_pem=account.ca_pem, pin=account.door_pin)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.line.close()

    def public_spki(self) -> bytes:
        """Kpublic as SPKI DER, 91 bytes."""
        return self.private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def now(self) -> datetime:
        """The corrected clock."""
        return self.clock() + self.offset

    def step(self) -> int:
        """T of this moment."""
        return step_at(self.now(), self.account.policy.step_seconds)

    def message(
        self,
        operation: int,
        media_type: str,
        content_digest: bytes,
        *,
        transaction: str | None = None,
        title: str | None = None,
        step: int | None = None,
    ) -> Signed:
        """The message of this account and moment."""
        return Signed(
            operation=operation,
            application=self.account.application,
            user=self.account.user,
            media_type=media_type,
            content_digest=content_digest,
            fingerprint=self.account.fingerprint,
            step=self.step() if step is None else step,
            transaction=transaction,
            title=title,
        )

    def message_of(self, shown: Shown, operation: int, *, step: int | None = None) -> Signed:
        """The message over what was shown."""
        return self.message(
            operation,
            shown.media_type,
            shown.digest,
            transaction=shown.transaction,
            title=shown.title,
            step=step,
        )

    def proofs(self, message: Signed, *, with_signature: bool | None = None) -> dict[str, Any]:
        """`step`, `code` and, once Kpublic is registered, `signature`."""
        encoded = message.encode()
        found: dict[str, Any] = {"step": message.step, "code": b64(mac(self.keys.khmac, encoded))}
        if self.account.registered if with_signature is None else with_signature:
            found["signature"] = b64(sign(self.private_key, encoded))
        return found

    def envelope(self, action: str, body: object, **overrides: object) -> bytes:
        """The raw request; `overrides` replace members (REMOVED leaves one out) or add unknown ones."""
        members: dict[str, object] = {
            "action": action,
            "keyset": self.account.keyset,
            "time": format_time(self.now()),
            "nonce": urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode(),
            "device": self.device,
            "body": body,
        }
        members |= overrides
        kept = {name: value for name, value in members.items() if value is not REMOVED}
        return json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()

    def authcode(self, raw: bytes) -> bytes:
        """AUTHCODE of a raw request."""
        return mac(self.keys.kauth, raw)

    def send(
        self, action: str, raw: bytes, *, authcode: bytes | None = None, headers: Headers | None = None
    ) -> Answer:
        """Send raw bytes with their AUTHCODE, or another one, or with other headers altogether."""
        code = self.authcode(raw) if authcode is None else authcode
        usual = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            PROOF_HEADER: b64(code),
        }
        response = self.line.post(f"{PREFIX}/{action}", raw, usual if headers is None else headers)
        return Answer(
            status=response.status_code,
            headers=response.headers,
            body=response.extensions["raw_body"],
            authcode=code,
        )

    def request(self, action: str, body: object, **overrides: object) -> Answer:
        """Build, sign and send; the answer is not yet checked."""
        return self.send(action, self.envelope(action, body, **overrides))

    def open_answer(self, answer: Answer) -> Answer:
        """The answer if it is proved and good; raises NetworkFailure, NotRecognised or Refused."""
        if not answer.proved_under(self.keys.kauth):
            if answer.status == UNAUTHORIZED:
                raise NotRecognised("the gateway did not recognise these keys", answer.date())
            raise NetworkFailure(f"an answer ({answer.status}) without the gateway's proof")
        if answer.status >= ERRORS_FROM:
            raise Refused(answer.status, answer.json())
        return answer

    def fetch(self, action: str, make_body: Callable[[], object]) -> Answer:
        """One action; made anew, once, when the gateway's clock turns out to be another one."""
        try:
            return self.open_answer(self.request(action, make_body()))
        except NotRecognised as error:
            if error.date is None or not self.correct_clock(error.date):
                raise
            return self.open_answer(self.request(action, make_body()))

    def call(self, action: str, make_body: Callable[[], object]) -> dict[str, Any]:
        """One action with a JSON answer."""
        return self.fetch(action, make_body).json()

    def correct_clock(self, date: datetime) -> bool:
        """Follow the Date of a TLS answer, by 24 h at most; True if that changed something."""
        offset = date - self.clock()
        if not self.line.secure or abs(offset) > MOST_CORRECTION or abs(date - self.now()) < WORTH_CORRECTING:
            return False
        self.offset = offset
        return True

    def _expect(self, answer: dict[str, Any], name: str, value: str) -> None:
        if answer.get(name) != value:
            raise NetworkFailure(f"the answer is about another {name}")
