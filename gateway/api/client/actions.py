"""Which actions does the client door offer: one table, from which routes and OpenAPI document are made."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from gateway.scenarios.authentication import Caller
from gateway.scenarios.authentications import create_authentication
from gateway.scenarios.confirmation import answer_transaction
from gateway.scenarios.context import Context
from gateway.scenarios.phone_reading import get_transaction, list_pending, read_content, update_device
from gateway.scenarios.registration import register_key
from gateway.scenarios.renewal import renew_keys

Scenario = Callable[[Context, Caller], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action: what it does, the names of what it takes and gives (``forms.SCHEMAS``), its own problems."""

    name: str
    about: str
    scenario: Scenario
    takes: str
    gives: str | None  # None: raw bytes
    problems: tuple[str, ...] = ()


_PROVED = ("proof_refused", "integrity_failure")
_READING = ("not_found", "transaction_settled")
_ANSWERING = (
    "not_found", "transaction_settled", "transaction_expired", "not_allowed_by_policy", "score_too_high", *_PROVED,
)  # fmt: skip

ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action(name="keys.register", about="Register Kpublic, once for each keyset.", scenario=register_key,
               takes="Register", gives="Registered",
               problems=("not_found", "already_registered", "package_differs", "keyset_not_open", "concurrent_change",
                         "not_allowed_by_policy", *_PROVED)),
        Action(name="keys.renew", about="Get new keys under the old ones.", scenario=renew_keys,
               takes="Renew", gives="Renewed",
               problems=("not_allowed_by_policy", "too_many_renewals", "concurrent_change", "delivery_unavailable",
                         *_PROVED)),
        Action(name="transactions.pending", about="List what waits for the user, now or as soon as there is something.",
               scenario=list_pending, takes="Pending", gives="TransactionList"),
        Action(name="transactions.get", about="Read one transaction that waits.", scenario=get_transaction,
               takes="Get", gives="Transaction", problems=_READING),
        Action(name="transactions.content", about="Read a part of the content.", scenario=read_content,
               takes="Content", gives=None, problems=_READING),
        Action(name="transactions.approve", about="Approve what was shown.", scenario=answer_transaction,
               takes="Decision", gives="Decided", problems=_ANSWERING),
        Action(name="transactions.decline", about="Decline what was shown.", scenario=answer_transaction,
               takes="Decision", gives="Decided", problems=_ANSWERING),
        Action(name="authentications.create", about="Authenticate the user by content that the phone made by a rule.",
               scenario=create_authentication, takes="Authentication", gives="Authenticated",
               problems=("not_allowed_by_policy", "proof_refused", "score_too_high")),
        Action(name="devices.update", about="Say where the phone can be woken, or that it shall not be.",
               scenario=update_device, takes="DeviceUpdate", gives="DeviceUpdated",
               problems=("keyset_not_open",)),
    )
}  # fmt: skip
