"""What do the calls about authentications take and give: content that a phone made by itself, and its proofs."""

from typing import Any, Literal

from pydantic import Field, model_validator

from gateway.api.application.models import Body, Id, Step
from gateway.api.application.views import ScoringView, Time, View
from gateway.api.describing import Base64
from gateway.wire.code import LEAST_DIGITS, MOST_DIGITS

_FULL = ("media_type", "step")
_DIGITS = rf"[0-9]{{{LEAST_DIGITS},{MOST_DIGITS}}}"


class PassAuthenticationOn(Body):
    """What a phone gave the application: content with full proofs; or a rule's name and the digits the user typed."""

    user: Id
    code: str = Field(
        pattern=rf"^({_DIGITS}|[A-Za-z0-9+/]{{43}}=)$",
        description="The full code in base64, or the digits of a short one.",
    )
    media_type: str | None = Field(None, min_length=3, max_length=255, description="With a full code.")
    text: str | None = Field(None, min_length=1, description="With a full code: this or `content`.")
    content: Base64 | None = None
    step: Step | None = Field(None, description="With a full code.")
    signature: Base64 | None = Field(
        None, description="With a full code: in DER, once Kpublic is registered."
    )
    rule: str | None = Field(
        None, min_length=1, max_length=32, description="With digits: over which content."
    )

    @property
    def is_typed(self) -> bool:
        """Say whether the code is digits."""
        return len(self.code) <= MOST_DIGITS

    @model_validator(mode="after")
    def _one_way(self) -> "PassAuthenticationOn":
        content = [name for name in ("text", "content") if getattr(self, name) is not None]
        given = [name for name in (*_FULL, "signature") if getattr(self, name) is not None] + content
        if self.is_typed and (given or self.rule is None):
            raise ValueError("with digits come user and rule, and nothing else")
        if not self.is_typed and (self.rule is not None or len(content) != 1 or not set(_FULL) <= set(given)):
            raise ValueError(
                "with a full code come media_type, step and one of text and content, and no rule"
            )
        return self


class AuthenticationSummary(View):
    """A user was authenticated by content that the phone made by a rule. The content itself is not kept."""

    id: str
    user: str
    rule: str
    channel: Literal["online", "passed_on", "offline"] = Field(
        description="The phone told the gateway; it gave full proofs to the application; the user typed digits."
    )
    keyset: str
    media_type: str
    content_sha256: Base64
    step: int
    code: str = Field(description="The full code in base64, or the digits of a short one.")
    signature: Base64 | None
    verified: list[Literal["step", "code", "signature"]]
    device: dict[str, Any]
    scoring: ScoringView | None
    at: Time


class AuthenticationView(AuthenticationSummary):
    """An authentication, and the receipt that proves it."""

    receipt: str


class AuthenticationList(View):
    """A page of a user's authentications, newest first; `next` is the `after` of the next page."""

    authentications: list[AuthenticationView]
    next: str | None
