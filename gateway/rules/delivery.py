"""What may happen to a callback: the table of its states, when it is tried again, and when it is given up."""

from datetime import datetime, timedelta
from enum import StrEnum

_SCHEDULE_SECONDS = (1, 5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 43200, 86400, 86400)
CLAIM_SECONDS = 20  # what sealing and noting may take beside the time of the try itself
OVERLAP = timedelta(hours=24)  # in which an application changes the secret of its callbacks
RUNNING_MOST = 200
RUNNING_PER_APPLICATION = 8


class DeliveryStatus(StrEnum):
    """State of a callback in the outbox."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class DeliveryAction(StrEnum):
    """What a try of a callback leads to."""

    ARRIVE = "arrive"
    FAIL = "fail"
    GIVE_UP = "give_up"


START = DeliveryStatus.PENDING
# A missing pair changes nothing: a worker that lost its claim may come late. That a callback arrived is true even then.
TRANSITIONS: dict[tuple[DeliveryStatus, DeliveryAction], DeliveryStatus] = {
    (DeliveryStatus.PENDING, DeliveryAction.ARRIVE): DeliveryStatus.DELIVERED,
    (DeliveryStatus.PENDING, DeliveryAction.FAIL): DeliveryStatus.PENDING,
    (DeliveryStatus.PENDING, DeliveryAction.GIVE_UP): DeliveryStatus.GIVEN_UP,
    (DeliveryStatus.GIVEN_UP, DeliveryAction.ARRIVE): DeliveryStatus.DELIVERED,
    (DeliveryStatus.GIVEN_UP, DeliveryAction.GIVE_UP): DeliveryStatus.GIVEN_UP,
}


def outcomes(action: DeliveryAction) -> dict[DeliveryStatus, DeliveryStatus]:
    """Return the states in which the action changes something, each with the state after it."""
    return {before: after for (before, each), after in TRANSITIONS.items() if each is action}


def pause_after(tries: int) -> timedelta | None:
    """Return how long to wait after the n-th failed try; None when it is time to give up (after about 3 days).

    Args:
        tries: number of tries made so far, at least 1.
    """
    if tries > len(_SCHEDULE_SECONDS):
        return None
    return timedelta(seconds=_SCHEDULE_SECONDS[tries - 1])


def sealing_versions(version: int, rotated_at: datetime | None, now: datetime) -> tuple[int, ...]:
    """Return the versions of the secret that seal a callback, newest first: two during a change."""
    changing = rotated_at is not None and now < rotated_at + OVERLAP
    return (version, version - 1) if changing and version > 1 else (version,)
