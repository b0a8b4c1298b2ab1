"""What do the requests and answers of the application door look like: the schemas behind the OpenAPI document."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Id = Annotated[str, Field(min_length=1, max_length=64)]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
Base64 = Annotated[str, Field(description="canonical base64 with padding")]
Seconds = Annotated[int, Field(ge=1, le=365 * 86400)]
Step = Annotated[int, Field(ge=0, le=2**53 - 1)]


class Body(BaseModel):
    """A request body: unknown members are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class View(BaseModel):
    """An answer."""

    model_config = ConfigDict(extra="forbid")


class Empty(Body):
    """No members."""


class BlockUser(Body):
    """Why the user is blocked; free text for the staff."""

    reason: str | None = Field(None, min_length=1, max_length=200)


class IssueKeyset(Body):
    """How the new keys travel to the phone."""

    delivery: Literal["online", "qr", "qr_and_code"]
    secret: str | None = Field(
        None,
        min_length=4,
        max_length=128,
        description="With `online`: the shared secret, of 80 random bits unless the policy has `weak_secret`.",
    )


class ConfirmationSettings(Body):
    """How the transaction may be confirmed; what is absent follows the policy."""

    offline: bool = False
    digits: int | None = Field(None, ge=6, le=10)
    kpublic_required: bool | None = None


class CreateTransaction(Body):
    """What the user is asked to confirm: text, or binary content in base64."""

    user: Id
    kind: Literal["sign", "authenticate"] = "sign"
    title: str | None = Field(None, min_length=1, max_length=256)
    media_type: str = Field(
        min_length=3, max_length=127, pattern=r"^[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+(; ?[ -~]+)?$"
    )
    text: str | None = Field(None, min_length=1)
    content: Base64 | None = None
    expires_in: Seconds | None = None
    callback: str | None = Field(None, max_length=2000)
    confirmation: ConfirmationSettings = ConfirmationSettings()

    @model_validator(mode="after")
    def _one_content(self) -> "CreateTransaction":
        if (self.text is None) == (self.content is None):
            raise ValueError("exactly one of text and content is needed")
        return self


class CancelTransaction(Body):
    """Why the transaction is cancelled."""

    reason: str | None = Field(None, min_length=1, max_length=200)


class VerifySignature(Body):
    """A past answer: which transaction, in which step, and the proofs it showed."""

    transaction: Id
    operation: Literal["approve", "decline"] = "approve"
    content: Base64 | None = None
    text: str | None = Field(None, min_length=1)
    content_sha256: Base64 | None = None
    step: Step
    code: Base64 | None = None
    signature: Base64 | None = None

    @model_validator(mode="after")
    def _something_to_verify(self) -> "VerifySignature":
        if self.code is None and self.signature is None:
            raise ValueError("code or signature is needed")
        if sum(value is not None for value in (self.content, self.text, self.content_sha256)) > 1:
            raise ValueError("at most one of content, text and content_sha256")
        return self


class DeviceView(View):
    """A phone."""

    id: str
    fingerprint: Base64
    push: str | None


class KeysetView(View):
    """The keys of a user on one phone, without the keys."""

    id: str
    user: str
    status: Literal["issued", "active", "deleted", "void", "lapsed", "unreadable"]
    delivery: Literal["online", "qr", "qr_and_code", "unreadable"]
    created_at: Time
    valid_until: Time
    lapses_at: Time | None
    registered_at: Time | None
    ended_at: Time | None
    device: DeviceView | None


class UserView(View):
    """A user and every keyset it ever had."""

    id: str
    status: Literal["active", "blocked", "deleted"]
    reason: str | None
    failures: int
    created_at: Time
    keysets: list[KeysetView]


class KeysetList(View):
    """Keysets, oldest first."""

    keysets: list[KeysetView]


class QrView(View):
    """The package as a QR code: its text, and the picture as SVG and PNG (base64)."""

    text: str
    svg: str
    png: Base64


class IssuedKeyset(View):
    """A fresh keyset with its package, delivered this once. With `qr` it is equivalent to the keys."""

    keyset: KeysetView
    package: Base64
    qr: QrView


class ActivationCode(View):
    """The activation code, delivered this once."""

    activation_code: str


class AttemptView(View):
    """One answer to a transaction: what was shown and what was verified."""

    id: str
    operation: Literal["approve", "decline", "authenticate"]
    channel: Literal["online"]
    keyset: str
    step: int
    code: Base64
    signature: Base64 | None
    verified: list[Literal["step", "code", "signature"]]
    outcome: Literal["accepted", "refused", "late"]
    device: dict[str, Any]
    at: Time


class TransactionView(View):
    """A transaction, the answer that settled it, and the attempts: that one and the first 20 of the others."""

    id: str
    user: str
    kind: Literal["sign", "authenticate"]
    status: Literal["pending", "confirmed", "declined", "cancelled"]
    reason: str | None
    title: str | None
    media_type: str
    size: int
    content_sha256: Base64
    digits: int
    offline: bool
    kpublic_required: bool
    created_at: Time
    expires_at: Time
    settled_at: Time | None
    confirmation: AttemptView | None
    attempts: list[AttemptView]
    receipt: str | None


class TransactionList(View):
    """A page of transactions, newest first; `next` is the `after` of the next page."""

    transactions: list[TransactionView]
    next: str | None


class Verdict(View):
    """What verifying showed: the single checks, the keyset, and its state then and now."""

    valid: bool = Field(
        description="The gateway accepted the answer, and all proofs that are shown are right."
    )
    outcome: Literal["accepted", "refused", "late"] | None = Field(
        description="What became of the answer; null if there was none of this operation in this step."
    )
    checks: dict[str, bool] = Field(description="For each proof that is shown, whether it is right.")
    missing: list[Literal["code", "signature"]] = Field(
        description="Proofs that the answer had and that are not shown here."
    )
    transaction: str
    transaction_status: str
    keyset: str | None
    device: str | None
    keyset_status_then: str | None
    keyset_status_now: str | None
    operation: str | None = None
    user: str | None = None
    user_status: str | None = None
    signed_at: Time | None = None
    content_sha256_matches: bool | None = None
    checked_at: Time | None = None


class EventView(View):
    """One line of the event log."""

    number: int
    id: str
    type: str
    result: str
    reason: str | None
    user: str | None
    keyset: str | None
    transaction: str | None
    action: str | None
    address: str | None
    body_sha256: Base64 | None
    authcode: Base64 | None
    detail: dict[str, Any]
    request: str | None
    at: Time


class EventList(View):
    """A page of events, oldest first; `next` is the `after` of the next page."""

    events: list[EventView]
    next: int | None


class PolicyView(View):
    """The policy in force and its version."""

    version: int
    policy: dict[str, int | bool | str]


class PutPolicy(Body):
    """The values that differ from the defaults."""

    policy: dict[str, int | bool | str]


class WebhookSecret(View):
    """The secret of the application's callbacks, shown this once."""

    secret: str
    version: int


class ProblemView(View):
    """A problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    errors: list[dict[str, str]] | None = None
