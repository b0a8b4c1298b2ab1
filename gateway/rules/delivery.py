"""When a callback is tried again, and when it is given up."""

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
