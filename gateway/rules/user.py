"""What may happen to a user: the states, and which action leads from one to another."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from gateway.refusals import Refusal


class UserStatus(StrEnum):
    """State of a user's record."""

    ACTIVE = "active"
    BLOCKED = "blocked"
    DELETED = "deleted"


class UserAction(StrEnum):
    """What an application can do to a user."""

    BLOCK = "block"
    UNBLOCK = "unblock"
    DELETE = "delete"


START = UserStatus.ACTIVE
# A missing pair is refused; a pair that leads to the same state changes nothing.
TRANSITIONS: dict[tuple[UserStatus, UserAction], UserStatus] = {
    (UserStatus.ACTIVE, UserAction.BLOCK): UserStatus.BLOCKED,
    (UserStatus.ACTIVE, UserAction.UNBLOCK): UserStatus.ACTIVE,
    (UserStatus.ACTIVE, UserAction.DELETE): UserStatus.DELETED,
    (UserStatus.BLOCKED, UserAction.BLOCK): UserStatus.BLOCKED,
    (UserStatus.BLOCKED, UserAction.UNBLOCK): UserStatus.ACTIVE,
    (UserStatus.BLOCKED, UserAction.DELETE): UserStatus.DELETED,
    (UserStatus.DELETED, UserAction.DELETE): UserStatus.DELETED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One user of one application. ``version`` grows with each change of the user or its keysets."""

    application_id: str
    user_id: str
    status: UserStatus
    reason: str | None
    failures: int
    version: int
    created_at: datetime
    settings: Mapping[str, Any] | None = None  # what is decided for this user alone (``user_settings``)


def next_status(status: UserStatus, action: UserAction) -> UserStatus:
    """Return the state after the action, or refuse: a deleted user stays deleted."""
    following = TRANSITIONS.get((status, action))
    if following is None:
        raise Refusal("user_deleted")
    return following


def require_open(user: User, failures_most: int) -> None:
    """Refuse unless the user may act: active, and below the limit of consecutive failures.

    The limit is checked beside the state so that a process killed between counting and blocking opens no gap.
    """
    if user.status is UserStatus.DELETED:
        raise Refusal("user_deleted")
    if user.status is UserStatus.BLOCKED or user.failures >= failures_most:
        raise Refusal("user_blocked")
