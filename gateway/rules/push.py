"""Through whom a phone can be woken, how long a push may wait for it, and when one is tried again."""

from datetime import datetime, timedelta
from enum import StrEnum

RUNNING_PER_PROVIDER = 32
SECONDS_MOST = 10  # a try may take
CLAIM_SECONDS = 20  # what noting the result may take beside the time of the try itself
_SCHEDULE_SECONDS = (2, 10, 30, 120)
_WAIT_MOST = timedelta(days=28)  # no push service keeps a message longer


class PushProvider(StrEnum):
    """Whose push service a phone's address belongs to; a phone that names another is not woken."""

    WEB_PUSH = "web_push"
    FCM = "fcm"
    APNS = "apns"


def pause_after(tries: int, asked_seconds: int = 0) -> timedelta | None:
    """Return how long to wait after the n-th failed try, at least as long as the service asked for; None: give up.

    Args:
        tries: number of tries made so far, at least 1.
        asked_seconds: what the service asked for.
    """
    if tries > len(_SCHEDULE_SECONDS):
        return None
    return timedelta(seconds=max(_SCHEDULE_SECONDS[tries - 1], asked_seconds))


def lifetime_seconds(now: datetime, until: datetime) -> int:
    """Return for how many whole seconds a push may be kept: never longer than what the phone is woken for."""
    return int(max(timedelta(), min(until - now, _WAIT_MOST)).total_seconds())
