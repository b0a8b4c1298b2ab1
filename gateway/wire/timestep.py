"""Which moment is meant by a step, and how is a moment written? All moments are aware UTC."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from gateway.wire.errors import WireError

DEFAULT_STEP_SECONDS = 180
LATEST = 253402300799  # 9999-12-31T23:59:59Z, the last second that can be written
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The hour as well: some versions of fromisoformat take 24 for the next day.
_OFFSET = len("+00:00")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}Z")


def unix_seconds(moment: datetime) -> int:
    """Return whole seconds since 1970, rounded down. Raises WireError `time` (naive) or `out_of_range`."""
    if moment.tzinfo is None:
        raise WireError("time")
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    if seconds < 0:
        raise WireError("out_of_range", "time")
    return seconds


def moment_at(seconds: int) -> datetime:
    """Return the moment `seconds` after 1970. Raises WireError `out_of_range` outside 1970..9999."""
    if not 0 <= seconds <= LATEST:
        raise WireError("out_of_range", "time")
    return _EPOCH + timedelta(seconds=seconds)


def step_at(moment: datetime, step_seconds: int) -> int:
    """Return T, floor(unix seconds / step length in seconds). Raises WireError `time` or `out_of_range`."""
    if step_seconds < 1:
        raise WireError("out_of_range", "step_seconds")
    return unix_seconds(moment) // step_seconds


def window(now: datetime, step_seconds: int, back: int, ahead: int) -> range:
    """Return the accepted steps, now - back to now + ahead, never below 0. Raises WireError as `step_at`."""
    step = step_at(now, step_seconds)
    if back < 0 or ahead < 0:
        raise WireError("out_of_range", "window")
    return range(max(0, step - back), step + ahead + 1)


@lru_cache(maxsize=64)  # what is told of one batch are few moments
def format_time(moment: datetime) -> str:
    """Return YYYY-MM-DDTHH:MM:SSZ; parts of a second are cut off. Raises WireError `time` (naive)."""
    if moment.tzinfo is None:
        raise WireError("time")
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat(timespec="seconds")[:-_OFFSET] + "Z"


def parse_time(text: str, *, what: str = "") -> datetime:
    """Return the moment of YYYY-MM-DDTHH:MM:SSZ, aware UTC. Raises WireError `time` (also for second 60)."""
    if _TIME.fullmatch(text) is None:
        raise WireError("time", what)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise WireError("time", what) from None
