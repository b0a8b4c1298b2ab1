"""Does a lost device get tried ever less often, and never in step with others?"""

from __future__ import annotations

import pytest

from hsm.errors import DeviceUnavailable
from hsm.pace import Pace
from hsm.recovery import Recovery, State


def test_the_pace_slows_down_and_spreads():
    pace = Pace(first=1, longest=10)
    delays = {failures: [pace.delay(failures) for _ in range(200)] for failures in (1, 2, 3, 100)}
    for failures, most in ((1, 1), (2, 2), (3, 4), (100, 10)):
        assert most / 2 <= min(delays[failures]) < max(delays[failures]) <= most


def test_after_a_few_initialisations_in_a_period_they_come_at_even_intervals():
    pace = Pace(most_initialisations=3, period=60)
    assert pace.wait([], now=100) == 0
    assert pace.wait([10, 20], now=30) == 0
    assert pace.wait([10, 20, 30], now=30) == 20
    assert pace.wait([10, 20, 30], now=50) == 0
    assert pace.wait([5, 10, 20, 30], now=36) == 14
    assert pace.wait([10, 20, 30, 50], now=69) == 1
    assert pace.wait([10, 20, 30], now=71) == 0


def test_an_attempt_that_breaks_off_is_one_that_failed():
    recovery = Recovery(lambda: 1 // 0, Pace(first=100, longest=100), lambda _: None)
    recovery.begin()
    while recovery.state is State.TRYING:
        pass
    with pytest.raises(DeviceUnavailable, match="ZeroDivisionError") as raised:
        recovery.require_reachable()
    assert raised.value.retry_after_seconds > 40
    recovery.stop("over")
