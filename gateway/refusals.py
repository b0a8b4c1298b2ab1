"""How does the house say no: every refusal by its meaning, with a stable public code.

A refusal is expected and tells the asker a public code; its private reason goes to the event log only.
An outage means that something the gateway needs is away for now. Anything else is a bug.
Only ``api/problems.py`` turns these into HTTP.
"""

from dataclasses import dataclass
from enum import StrEnum


class Meaning(StrEnum):
    """What kind of no it is."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    MISSING = "missing"
    METHOD = "method"
    CONFLICT = "conflict"
    TOO_SLOW = "too_slow"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    MEDIA = "media"
    UNPROCESSABLE = "unprocessable"
    OUTAGE = "outage"
    BUG = "bug"


@dataclass(frozen=True, slots=True)
class Problem:
    """One public answer: its code, its meaning, and what the reader should know about it."""

    code: str
    meaning: Meaning
    title: str
    advice: str


_M = Meaning
CATALOGUE: dict[str, Problem] = {
    problem.code: problem
    for problem in (
        Problem("malformed_request", _M.INVALID, "The request cannot be read",
                "Not strict JSON, an unknown or repeated member, a value of the wrong form, or text that is "
                "not UTF-8. `errors` names the members where that is known."),
        Problem("idempotency_key_required", _M.INVALID, "An Idempotency-Key header is required",
                "Send a fresh random key of 1 to 128 visible characters with each new request."),
        Problem("unauthenticated", _M.UNAUTHENTICATED, "The credential is missing or not valid",
                "Send `Authorization: Bearer` with an API key that has not been revoked."),
        Problem("authentication_failed", _M.UNAUTHENTICATED, "The request is not authenticated",
                "The one answer of the client door for an unknown, blocked, expired, replayed, late or wrongly "
                "authenticated request. The event log holds the reason."),
        Problem("scope_missing", _M.FORBIDDEN, "The credential lacks the scope for this call",
                "Ask the operator for a credential with the scope named in `detail`."),
        Problem("proof_refused", _M.FORBIDDEN, "The proofs were not accepted",
                "Code, signature or step are not right for this transaction: the event log says which. A wrong code or "
                "signature counts as a failure; after several in a row the transaction is cancelled and the user "
                "blocked. A wrong step is a clock, and does not count."),
        Problem("score_too_high", _M.FORBIDDEN, "The answer is not accepted under these circumstances",
                "The proofs were right, but too much speaks against them by the application's rules. It is no failure "
                "that counts; the transaction is cancelled and the application told why."),
        Problem("not_found", _M.MISSING, "There is no such thing here",
                "The resource does not exist or belongs to another application."),
        Problem("method_not_allowed", _M.METHOD, "The method is not allowed here",
                "See the `Allow` header."),
        Problem("too_slow", _M.TOO_SLOW, "The request did not come to its end in time",
                "Send the body without pauses; the limit is named in `detail`."),
        Problem("too_large", _M.TOO_LARGE, "The request is too large",
                "The limit is named in `detail`."),
        Problem("too_many_failures", _M.TOO_MANY, "Too many failed requests came from this address",
                "Wait for the seconds in `Retry-After`. Requests that fail to authenticate are counted by address."),
        Problem("too_many_streams", _M.TOO_MANY, "There are as many event streams as there may be",
                "Use those that are open, or wait for the seconds in `Retry-After`."),
        Problem("too_many_uploads", _M.TOO_MANY, "Too much content waits for its transactions",
                "Create the transactions, or wait: content that none uses goes after an hour."),
        Problem("too_many_pending", _M.TOO_MANY, "As much as may waits for an answer already",
                "Cancel what nobody will answer, or wait; `detail` says of what there is too much."),
        Problem("too_many_renewals", _M.TOO_MANY, "This device got new keys too often lately",
                "Use the keys there are; `detail` says how often a device gets new ones."),
        Problem("unsupported_media_type", _M.MEDIA, "The media type or encoding is not accepted",
                "Send `Content-Type: application/json` without Content-Encoding; with content by itself, its own "
                "media type."),
        Problem("user_blocked", _M.CONFLICT, "The user is blocked",
                "Unblock the user first; a blocked user can only be unblocked or deleted."),
        Problem("user_deleted", _M.CONFLICT, "The user was deleted",
                "The id is never used again; its record only verifies old signatures."),
        Problem("no_active_keys", _M.CONFLICT, "The user has no keys that could confirm this",
                "Issue a keyset and let the phone register first: an expired keyset does not count, and an "
                "unregistered one only where neither policy nor transaction require Kpublic."),
        Problem("devices_full", _M.CONFLICT, "The user has as many devices as the policy allows",
                "Name in `device` the one whose keys are to be replaced, or remove one first."),
        Problem("transaction_settled", _M.CONFLICT, "The transaction is no longer pending",
                "Its outcome stands; fetch it to see which."),
        Problem("transaction_expired", _M.CONFLICT, "The transaction's time is over",
                "It can no longer be approved or declined."),
        Problem("already_delivered", _M.CONFLICT, "This was delivered once and cannot be delivered again",
                "Packages and activation codes are given out once. Issue a new keyset."),
        Problem("already_used", _M.CONFLICT, "This authentication has served already",
                "Each message of a phone authenticates once. See `GET /v1/users/{user_id}/authentications`."),
        Problem("already_registered", _M.CONFLICT, "The keyset is registered with another key",
                "If it was not you, block the user and issue new keys."),
        Problem("package_differs", _M.CONFLICT, "The package was changed on its way",
                "The keyset is void. Issue a new one over a channel nobody else can write to."),
        Problem("keyset_not_open", _M.CONFLICT, "The keyset is not in a state for this",
                "It was registered, ended or has lapsed."),
        Problem("in_progress", _M.CONFLICT, "The first request with this key is still running",
                "Ask again a moment later with the same key."),
        Problem("concurrent_change", _M.CONFLICT, "Somebody else changed this at the same moment",
                "Fetch it and ask again."),
        Problem("integrity_failure", _M.CONFLICT, "The record is not what the HSM vouched for",
                "Somebody wrote to the database beside the gateway. Nothing is decided on such a record; "
                "alarm the operators."),
        Problem("idempotency_mismatch", _M.UNPROCESSABLE, "The Idempotency-Key was used for another request",
                "Use one key for one request."),
        Problem("not_allowed_by_policy", _M.UNPROCESSABLE, "The application's policy does not allow this",
                "`detail` says which rule."),
        Problem("delivery_unavailable", _M.CONFLICT, "The token of this gateway cannot deliver keys",
                "It cannot wrap what it generates, so no keyset can be issued. Users who have their keys are served. "
                "The operator's log of the start says so; asking again does not help."),
        Problem("outage", _M.OUTAGE, "Something the gateway needs is away for now",
                "Ask again after the seconds in `Retry-After`."),
        Problem("internal_error", _M.BUG, "The gateway made a mistake",
                "The log has it under the request id. Nothing was decided."),
    )
}  # fmt: skip


class Refusal(Exception):
    """An expected no.

    Args:
        code: a key of ``CATALOGUE``; what the asker sees.
        reason: why, for the event log only.
        detail: one sentence for the asker; must not tell more than the asker may know.
        errors: places in the request that are wrong, each with ``pointer`` and ``detail``.
        recorded: the event log tells of it already.
    """

    def __init__(
        self,
        code: str,
        reason: str = "",
        *,
        detail: str | None = None,
        errors: tuple[dict[str, str], ...] = (),
        recorded: bool = False,
    ) -> None:
        super().__init__(code, reason)
        self.problem = CATALOGUE[code]
        self.reason = reason or code
        self.detail = detail
        self.errors = errors
        self.recorded = recorded

    def within(self, member: str) -> "Refusal":
        """Return this no, its places told as those of values that stood under this member of the request."""
        self.errors = tuple(each | {"pointer": f"/{member}{each['pointer']}"} for each in self.errors)
        return self


class Outage(Exception):
    """Something the gateway needs (database, HSM) is away for now."""

    def __init__(self, what: str, retry_after_seconds: int = 2) -> None:
        super().__init__(what)
        self.retry_after_seconds = retry_after_seconds
