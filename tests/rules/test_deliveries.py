"""When is a callback tried again: the schedule, written out, and its end."""

from datetime import timedelta

import pytest

from gateway.rules.delivery import pause_after

SCHEDULE = [
    "0:00:01", "0:00:05", "0:00:30", "0:02:00", "0:10:00", "0:30:00", "1:00:00",
    "2:00:00", "4:00:00", "8:00:00", "12:00:00", "1 day, 0:00:00", "1 day, 0:00:00",
]  # fmt: skip


@pytest.mark.parametrize(("tries", "pause"), list(enumerate(SCHEDULE, start=1)))
def test_the_pause_after_each_failed_try_is_the_one_written_here(tries: int, pause: str):
    assert str(pause_after(tries)) == pause


@pytest.mark.parametrize("tries", [14, 15, 1000])
def test_after_the_schedule_a_callback_is_given_up(tries: int):
    assert pause_after(tries) is None


def test_the_pauses_only_grow_and_take_more_than_three_days():
    pauses = [pause_after(tries) or timedelta(0) for tries in range(1, 14)]
    assert pauses == sorted(pauses)
    assert timedelta(days=3) < sum(pauses, timedelta()) < timedelta(days=5)
