"""What do the requests of the application door look like: the schemas of bodies in the OpenAPI document."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.api.application.policy_forms import PolicyValues
from gateway.api.describing import Base64
from gateway.api.incoming import MEDIA_TYPE_MOST, MEDIA_TYPE_PATTERN

Id = Annotated[str, Field(min_length=1, max_length=64)]
Seconds = Annotated[int, Field(ge=1, le=365 * 86400)]
Step = Annotated[int, Field(ge=0, le=2**53 - 1)]


def _only(*there: str, absent: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the condition that these members are given and others are not."""
    given: dict[str, Any] = {name: {"type": "string"} for name in there}
    return {"required": [*there], "properties": given | {name: {"type": "null"} for name in absent}}


class Body(BaseModel):
    """A request body: unknown members are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Empty(Body):
    """No members."""


class BlockUser(Body):
    """Why the user is blocked; free text for the staff."""

    reason: str | None = Field(None, min_length=1, max_length=200)


class IssueKeyset(Body):
    """How the new keys travel to the phone."""

    delivery: Literal["online", "qr", "qr_and_code", "sealed"]
    secret: str | None = Field(
        None,
        min_length=4,
        max_length=128,
        description="With `online`: the shared secret, of 80 random bits unless the policy has `weak_secret`.",
    )
    wrap_key: Base64 | None = Field(
        None, description="With `sealed`: an RSA public key of the device, SPKI in DER, 2048 to 8192 bits."
    )
    oaep: list[Literal["SHA-1", "SHA-256", "SHA-384", "SHA-512"]] | None = Field(
        None,
        min_length=1,
        max_length=4,
        description="With `sealed`: the hashes the device accepts for RSA-OAEP, the best first.",
    )
    device: Id | None = Field(
        None, description="The device whose keys are replaced; without it the keys are for another one."
    )
    pictures: bool = Field(
        default=True,
        description="False: the answer holds the QR code as text alone. Drawing it takes several times as long as "
        "making the keys, so whoever draws it anyway, or enrols many, does without.",
    )


class ConfirmationSettings(Body):
    """How the transaction may be confirmed; what is absent follows the policy."""

    offline: bool = False
    digits: int | None = Field(None, ge=6, le=10)
    kpublic_required: bool | None = None
    scoring: Literal["policy", "off", "refuse_above_low", "refuse_above_medium"] = "policy"


class CreateTransaction(Body):
    """What the user is asked to confirm: text, binary content in base64, or what was handed in by itself."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                _only("text", "media_type", absent=("content", "content_id")),
                _only("content", "media_type", absent=("text", "content_id")),
                _only("content_id", absent=("text", "content", "media_type")),
            ]
        }
    )

    user: Id
    kind: Literal["sign", "authenticate"] = "sign"
    title: str | None = Field(None, min_length=1, max_length=256)
    media_type: str | None = Field(None, min_length=3, max_length=MEDIA_TYPE_MOST, pattern=MEDIA_TYPE_PATTERN)
    text: str | None = Field(None, min_length=1)
    content: Base64 | None = None
    content_id: Id | None = Field(
        None, description="Content of `POST /v1/contents`, once; it has its media type already."
    )
    expires_in: Seconds | None = None
    callback: str | None = Field(None, max_length=2000)
    confirmation: ConfirmationSettings = ConfirmationSettings()

    @model_validator(mode="after")
    def _one_content(self) -> "CreateTransaction":
        if sum(value is not None for value in (self.text, self.content, self.content_id)) != 1:
            raise ValueError("exactly one of text, content and content_id is needed")
        if (self.media_type is None) == (self.content_id is None):
            raise ValueError("media_type belongs to text and content, and not to content_id")
        return self


class SubmitCode(Body):
    """The digits that the user read from the phone, as many as the transaction says."""

    code: str = Field(min_length=1, max_length=16)


class CancelTransaction(Body):
    """Why the transaction is cancelled."""

    reason: str | None = Field(None, min_length=1, max_length=200)


class VerifySignature(Body):
    """A past answer or authentication: to which transaction or which one, in which step, and the proofs it showed."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                _only("transaction", absent=("authentication",)),
                _only("authentication", absent=("transaction",)),
            ],
            "anyOf": [_only("code"), _only("signature")],
        }
    )

    transaction: Id | None = None
    authentication: Id | None = None
    operation: Literal["approve", "decline"] = "approve"
    content: Base64 | None = None
    text: str | None = Field(None, min_length=1)
    content_sha256: Base64 | None = None
    step: Step
    code: str | None = Field(
        None,
        pattern=r"^([0-9]{6,10}|[A-Za-z0-9+/]{43}=)$",
        description="The full code in base64, or the digits of a short one.",
    )
    signature: Base64 | None = None

    @model_validator(mode="after")
    def _something_to_verify(self) -> "VerifySignature":
        if (self.transaction is None) == (self.authentication is None):
            raise ValueError("exactly one of transaction and authentication is needed")
        if self.code is None and self.signature is None:
            raise ValueError("code or signature is needed")
        if sum(value is not None for value in (self.content, self.text, self.content_sha256)) > 1:
            raise ValueError("at most one of content, text and content_sha256")
        return self


class PutPolicy(Body):
    """The values that differ from the defaults."""

    policy: PolicyValues
