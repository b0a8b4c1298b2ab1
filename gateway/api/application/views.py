"""What do the answers of the application door look like: the schemas of answers in the OpenAPI document."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.api.application.policy_forms import PolicyValues, UserSettings
from gateway.api.describing import Base64

Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]


class View(BaseModel):
    """An answer."""

    model_config = ConfigDict(extra="forbid")


class DeviceView(View):
    """A phone."""

    id: str
    fingerprint: Base64
    push: str | None


class FullDeviceView(View):
    """A phone of a user, the keys it answers with, and its times."""

    id: str
    user: str
    status: Literal["expected", "active", "removed"]
    push: str | None
    keyset: str | None = Field(description="The keyset in use; null while there is none.")
    fingerprint: Base64 | None
    created_at: Time
    registered_at: Time | None
    removed_at: Time | None


class DeviceList(View):
    """Every device a user ever had, oldest first."""

    devices: list[FullDeviceView]


class KeysetView(View):
    """The keys of a user on one phone, without the keys."""

    id: str
    user: str
    status: Literal["issued", "active", "deleted", "void", "lapsed", "unreadable"]
    delivery: Literal["online", "qr", "qr_and_code", "sealed", "unreadable"]
    renews: str | None = Field(description="The keyset that the phone renewed with it.")
    flags: list[str] = Field(description="The flags that travelled in its package.")
    policy_version: int = Field(description="Of the policy under which it was made.")
    created_at: Time
    valid_until: Time
    lapses_at: Time | None
    registered_at: Time | None
    ended_at: Time | None
    kpublic: Base64 | None = Field(
        description="The phone's public key, SubjectPublicKeyInfo in DER, to verify signatures without the gateway; "
        "null until it is registered."
    )
    device: DeviceView | None


class UserView(View):
    """A user and every keyset it ever had."""

    id: str
    status: Literal["active", "blocked", "deleted"]
    reason: str | None
    failures: int
    settings: UserSettings
    created_at: Time
    keysets: list[KeysetView]


class KeysetList(View):
    """Keysets, oldest first."""

    keysets: list[KeysetView]


class QrView(View):
    """The package as a QR code: its text, and the picture as SVG and PNG (base64) unless only the text was wanted."""

    text: str
    svg: str | None
    png: Base64 | None


class OfflineForm(View):
    """A whole transaction as a QR code, for a phone without a network."""

    transaction: str
    qr: QrView


class IssuedKeyset(View):
    """A fresh keyset with its package, delivered this once. With `qr` it is equivalent to the keys."""

    keyset: KeysetView
    package: Base64
    qr: QrView | None = Field(description="Null with `sealed`: such a package travels online.")


class ContentView(View):
    """Content that waits for its transaction."""

    id: str = Field(description="The `content_id` of the transaction that is to use it.")
    media_type: str
    size: int
    content_sha256: Base64
    created_at: Time
    expires_at: Time = Field(description="When it goes, if no transaction has used it.")


class ActivationCode(View):
    """The activation code, delivered this once."""

    activation_code: str


class FactorView(View):
    """One thing that spoke against an answer."""

    factor: str
    points: int
    why: str


class ScoringView(View):
    """How much speaks against an answer whose proofs are right, 0 to 1000, and what."""

    value: int
    level: Literal["low", "medium", "high"]
    factors: list[FactorView]
    address: str | None = Field(
        description="Where the answer came from; null for digits through the application."
    )


class AttemptView(View):
    """One answer to a transaction: what was shown and what was verified."""

    id: str
    operation: Literal["approve", "decline", "authenticate"]
    channel: Literal["online", "offline"]
    keyset: str
    step: int
    code: str = Field(description="The full code in base64, or the digits of a short one.")
    signature: Base64 | None
    verified: list[Literal["step", "code", "signature"]]
    outcome: Literal["accepted", "refused", "late"]
    device_id: str | None = Field(description="The device that the keyset belongs to.")
    device: dict[str, Any] = Field(description="What the phone told about itself.")
    scoring: ScoringView | None = Field(description="Null where neither policy nor transaction ask for it.")
    at: Time


class TransactionSummary(View):
    """A transaction without its answers."""

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
    scoring: Literal["policy", "off", "refuse_above_low", "refuse_above_medium"]
    kpublic_required: bool
    policy_version: int = Field(description="Of the policy under which it was created.")
    created_at: Time
    expires_at: Time
    settled_at: Time | None


class TransactionView(TransactionSummary):
    """A transaction, the answer that settled it, and the attempts: that one and the first 20 of the others."""

    confirmation: AttemptView | None
    attempts: list[AttemptView]
    receipt: str | None


class AnswerView(AttemptView):
    """An answer with its transaction."""

    transaction: str


class AnswerList(View):
    """A page of a user's answers, oldest first; `next` is the `after` of the next page."""

    answers: list[AnswerView]
    next: str | None


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
    transaction: str | None
    transaction_status: str | None
    authentication: str | None = None
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
    policy: PolicyValues


class WebhookSecret(View):
    """The secret of the application's callbacks, shown this once."""

    secret: str
    version: int
