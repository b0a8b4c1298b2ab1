"""What may happen to a transaction: the table of its states, and what each end is called."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.refusals import Refusal
from gateway.rules.scoring_policy import ScoringSetting


class TransactionStatus(StrEnum):
    """State of a transaction; every state but ``pending`` is final."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    DECLINED = "declined"
    CANCELLED = "cancelled"


class TransactionAction(StrEnum):
    """What can happen to a transaction."""

    APPROVE = "approve"
    DECLINE = "decline"
    CANCEL = "cancel"
    EXPIRE = "expire"
    EXHAUST = "exhaust"
    REFUSE = "refuse"


class CancelReason(StrEnum):
    """Why a transaction was cancelled without an answer of the user."""

    APPLICATION = "application"
    TIMEOUT = "timeout"
    TOO_MANY_FAILURES = "too_many_failures"
    USER_DELETED = "user_deleted"
    SCORE_TOO_HIGH = "score_too_high"


class Kind(StrEnum):
    """What an approval means: a signature under a transaction, or a proof of presence."""

    SIGN = "sign"
    AUTHENTICATE = "authenticate"


START = TransactionStatus.PENDING
# Of one user, at a time: no more is told to a phone, and all of them end in one unit with their user.
WAITING_MOST = 100
USER_BYTES_MOST = 256 * 1024 * 1024  # and no more than can be cleared in that unit while others wait to write
LARGE_BYTES = 64 * 1024  # content beyond this is counted, see ``store.waiting``
TRANSITIONS: dict[tuple[TransactionStatus, TransactionAction], TransactionStatus] = {
    (TransactionStatus.PENDING, TransactionAction.APPROVE): TransactionStatus.CONFIRMED,
    (TransactionStatus.PENDING, TransactionAction.DECLINE): TransactionStatus.DECLINED,
    (TransactionStatus.PENDING, TransactionAction.CANCEL): TransactionStatus.CANCELLED,
    (TransactionStatus.PENDING, TransactionAction.EXPIRE): TransactionStatus.CANCELLED,
    (TransactionStatus.PENDING, TransactionAction.EXHAUST): TransactionStatus.CANCELLED,
    (TransactionStatus.PENDING, TransactionAction.REFUSE): TransactionStatus.CANCELLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One transaction without its content; ``binding`` is the HSM's MAC over what never changes of it."""

    id: str
    application_id: str
    user_id: str
    kind: Kind
    status: TransactionStatus
    reason: str | None
    title: str | None
    media_type: str
    size: int
    content_sha256: bytes
    digits: int
    offline: bool
    kpublic_required: bool
    callback_url: str | None
    failures: int
    created_at: datetime
    expires_at: datetime
    settled_at: datetime | None
    policy_version: int = 1  # of the policy under which it was made
    scoring: ScoringSetting = ScoringSetting.POLICY
    binding: bytes = b""
    binding_version: int = 1  # of the key under the MAC


def next_status(status: TransactionStatus, action: TransactionAction) -> TransactionStatus:
    """Return the state after the action, or refuse: what is settled stays settled."""
    following = TRANSITIONS.get((status, action))
    if following is None:
        raise Refusal("transaction_settled", f"{action} of a transaction that is {status}")
    return following


def is_open(transaction: Transaction, now: datetime) -> bool:
    """Say whether the transaction can still be answered at this moment."""
    return transaction.status is TransactionStatus.PENDING and now < transaction.expires_at
