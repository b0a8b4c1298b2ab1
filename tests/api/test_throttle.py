"""An address that keeps failing is refused for the rest of its minute, and no longer."""

from datetime import UTC, datetime, timedelta

from gateway.api.throttle import Throttle


class _Clock:
    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment


def test_an_address_is_closed_after_its_failures_and_open_again_in_the_next_minute():
    clock = _Clock()
    throttle = Throttle(3, clock)
    for _ in range(3):
        assert not throttle.is_closed("192.0.2.1")
        throttle.count("192.0.2.1")
    assert throttle.is_closed("192.0.2.1")
    clock.moment += timedelta(seconds=60)
    assert not throttle.is_closed("192.0.2.1")


def test_the_failures_of_one_address_do_not_close_another():
    throttle = Throttle(1, _Clock())
    throttle.count("192.0.2.1")
    assert throttle.is_closed("192.0.2.1")
    assert not throttle.is_closed("192.0.2.2")
    assert not throttle.is_closed(None)
