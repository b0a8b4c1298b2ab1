"""Is work on the device beyond what may wait refused at once, and room given back?"""

import threading

import pytest

from gateway.scenarios.device_threads import DeviceThreads
from hsm.errors import DeviceUnavailable


def test_no_more_is_taken_than_there_are_sessions_and_places_to_wait() -> None:
    over = threading.Event()
    with DeviceThreads(2, 3) as threads:
        taken = [threads.submit(over.wait) for _ in range(5)]
        with pytest.raises(DeviceUnavailable, match="too much waits"):
            threads.submit(over.wait)
        over.set()
        assert all(each.result() for each in taken)
        assert [threads.submit(lambda number=number: number).result() for number in range(20)] == [*range(20)]


def test_work_that_fails_or_is_given_up_keeps_no_room() -> None:
    over = threading.Event()
    with DeviceThreads(1, 0) as threads:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                threads.submit(lambda: 1 // 0).result()
        held = threads.submit(over.wait)
        with pytest.raises(DeviceUnavailable):
            threads.submit(over.wait)
        over.set()
        held.result()
        threads.submit(over.wait).result()
