"""What do callbacks look like: the schemas of their bodies, and the `webhooks` of the OpenAPI document."""

from typing import Any, Literal

from pydantic import BaseModel

from gateway.api.application.authentication_forms import AuthenticationSummary
from gateway.api.application.views import (
    AttemptView,
    FullDeviceView,
    KeysetView,
    ScoringView,
    Time,
    TransactionSummary,
    View,
)
from gateway.api.describing import Json, ref
from gateway.rules.callback import CALLBACKS, CallbackType


class TransactionTold(View):
    """A transaction that was confirmed or declined: the answer, and the receipt that alone proves it."""

    transaction: TransactionSummary
    confirmation: AttemptView
    receipt: str


class CancellationTold(View):
    """A transaction that ended without a decision; `scoring` where that was because of it."""

    transaction: TransactionSummary
    confirmation: None
    receipt: None
    scoring: ScoringView | None = None


class AuthenticationTold(View):
    """An authentication, and the receipt that alone proves it."""

    authentication: AuthenticationSummary
    receipt: str


class AuthenticationRefusedTold(View):
    """An authentication that was refused because of its score, without its proofs."""

    user: str
    rule: str
    channel: Literal["online", "passed_on", "offline"]
    keyset: str
    device: dict[str, Any]
    scoring: ScoringView
    at: Time


class KeysTold(View):
    """The keyset that is active now, and whose it is."""

    user: str
    keyset: KeysetView


class DeviceTold(View):
    """The device that was removed, and whose it was."""

    user: str
    device: FullDeviceView


class UserTold(View):
    """What became of a user, and why."""

    user: str
    status: Literal["active", "blocked", "deleted"]
    reason: str | None


DATA: dict[CallbackType, type[BaseModel]] = {
    CallbackType.TRANSACTION_CONFIRMED: TransactionTold,
    CallbackType.TRANSACTION_DECLINED: TransactionTold,
    CallbackType.TRANSACTION_CANCELLED: CancellationTold,
    CallbackType.AUTHENTICATION_CONFIRMED: AuthenticationTold,
    CallbackType.AUTHENTICATION_REFUSED: AuthenticationRefusedTold,
    CallbackType.KEYS_REGISTERED: KeysTold,
    CallbackType.DEVICE_REMOVED: DeviceTold,
    CallbackType.USER_BLOCKED: UserTold,
    CallbackType.USER_UNBLOCKED: UserTold,
    CallbackType.USER_DELETED: UserTold,
}
_TIME: Json = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
_HEADERS = {
    "webhook-id": "the same at each try: who has handled it answers well and does nothing",
    "webhook-timestamp": "of this try, in unix seconds; refuse what is more than five minutes off",
    "webhook-signature": "one or two seals under the secrets of the application, separated by a space",
}


def webhooks() -> Json:
    """Return what is posted to an application, by type."""
    return {str(each): {"post": _operation(each)} for each in CallbackType}


def _operation(type_: CallbackType) -> Json:
    parameters = [
        {"name": name, "in": "header", "required": True, "description": about, "schema": {"type": "string"}}
        for name, about in _HEADERS.items()
    ]
    return {
        "operationId": "told" + "".join(word.capitalize() for word in type_.split(".")),
        "summary": CALLBACKS[type_],
        "security": [],
        "parameters": parameters,
        "requestBody": {"required": True, "content": {"application/json": {"schema": _body(type_)}}},
        "responses": {"2XX": {"description": "it arrived; after any other answer it is tried again"}},
    }


def _body(type_: CallbackType) -> Json:
    about = "orders the callbacks about one transaction, from 1; 0 for all others"
    members = {
        "type": {"const": str(type_)},
        "timestamp": _TIME,
        "sequence": {"type": "integer", "description": about},
        "data": ref(DATA[type_].__name__),
    }
    return {"type": "object", "properties": members, "required": [*members], "additionalProperties": False}
