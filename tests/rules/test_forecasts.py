"""Does the forecast divide rightly, and say that it does not know where it does not?"""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.rules.forecast import Growth, forecast

NOW = datetime(2030, 6, 1, tzinfo=UTC)


def growth(*, added: int, removed: int = 0, days: float = 10) -> Growth:
    return Growth(days=days, enrolments=5, renewals=1, added=added, removed=removed)


def test_the_room_is_divided_by_what_is_added_in_a_day():
    told = forecast(100, 40, growth(added=24, removed=4), NOW)
    assert (told.full_at, told.why) == (NOW + timedelta(days=20), "")


def test_a_full_token_is_full_now():
    assert forecast(100, 0, growth(added=1), NOW).full_at == NOW
    assert forecast(100, -5, growth(added=1), NOW).full_at == NOW


@pytest.mark.parametrize(
    ("room", "rate", "why"),
    [
        (None, growth(added=5), "--capacity"),
        (40, None, "no keyset tells"),
        (40, growth(added=0), "did not fill"),
        (40, growth(added=2, removed=3), "did not fill"),
        (10**9, growth(added=1), "hundred years"),
    ],
)
def test_what_nobody_tells_is_unknown(room: int | None, rate: Growth | None, why: str):
    told = forecast(100, room, rate, NOW)
    assert told.full_at is None
    assert why in told.why
