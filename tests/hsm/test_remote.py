"""Does a device come back by itself after it was killed, stopped or unreachable, and without a wrong answer?"""

from __future__ import annotations

import hmac
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Self

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from hsm import conformance
from hsm.device import Device
from hsm.errors import DeliveryRefused, DeviceUnavailable
from hsm.keys import KeyKind, KeyRef
from hsm.limits import Limits
from hsm.pace import Pace
from hsm.wrapping import Strategy
from tests.hsm.remote import Remote
from tests.tokens import pin_file_of

QUICK = Pace(first=0.05, longest=0.2, most_initialisations=1000)
LIMITS = Limits(sessions=4, wait_seconds=20, call_seconds=60, pace=QUICK)


@pytest.fixture
def far(remote: Remote) -> Iterator[Device]:
    """A device behind the server, with two house keys."""
    opened = Device.open(remote.uri, limits=LIMITS)
    opened.create_house_key("binding")
    opened.create_house_key("webhook")
    yield opened
    opened.close()


class Crowd:
    """Threads that use two keys all the time and compare every answer."""

    def __init__(self, device: Device, threads: int = 8) -> None:
        self.device = device
        self.keys = [device.house_key("binding"), device.house_key("webhook")]
        self.expected = [device.mac(key, b"x") for key in self.keys]
        self.outcomes: Counter[str] = Counter()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(each,)) for each in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def until(self, outcome: str, more: int) -> None:
        """Wait for so many more answers of a kind."""
        wanted = self.outcomes[outcome] + more
        wait_until(lambda: self.outcomes[outcome] >= wanted)

    def _work(self, number: int) -> None:
        key, expected = self.keys[number % 2], self.expected[number % 2]
        while not self._over.is_set():
            try:
                answer = self.device.mac(key, b"x")
            except DeviceUnavailable:
                self.outcomes["unavailable"] += 1
                time.sleep(0.01)
            except Exception as exc:  # noqa: BLE001  # that is what the test looks for
                self.outcomes[repr(exc)] += 1
            else:
                self.outcomes["right" if answer == expected else "wrong"] += 1


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("kills", [4, pytest.param(60, marks=pytest.mark.long)])
def test_a_device_that_is_killed_again_and_again_answers_rightly_or_not_at_all(
    far: Device, remote: Remote, kills: int
):
    with Crowd(far) as crowd:
        for _ in range(kills):
            before = far.snapshot().epoch
            crowd.until("right", 50)
            assert remote.send(signal.SIGKILL) == 1
            wait_until(lambda before=before: far.snapshot().epoch > before)
            crowd.until("right", 50)
    assert set(crowd.outcomes) <= {"right", "unavailable"}
    assert far.snapshot().state == "well"


def test_keys_found_before_a_loss_do_not_stand_for_others_after_it(far: Device, remote: Remote):
    binding, webhook = far.house_key("binding"), far.house_key("webhook")
    macs = far.mac(binding, b"x"), far.mac(webhook, b"x")
    remote.send(signal.SIGKILL)
    assert (far.mac(webhook, b"x"), far.mac(binding, b"x")) == (macs[1], macs[0])


def test_a_device_that_stands_still_for_a_while_costs_time_and_nothing_else(remote: Remote):
    device = Device.open(remote.uri, limits=Limits(sessions=2, most_waiting=4, wait_seconds=1.5))
    device.create_house_key("binding")
    device.create_house_key("webhook")
    with Crowd(device, threads=12) as crowd:
        crowd.until("right", 50)
        remote.send(signal.SIGSTOP)
        crowd.until("unavailable", 20)  # two are in the module, four wait, the others are told at once
        wait_until(lambda: device.snapshot().in_use == 2)
        remote.send(signal.SIGCONT)
        crowd.until("right", 50)
    assert set(crowd.outcomes) == {"right", "unavailable"}
    assert (device.snapshot().epoch, device.snapshot().recoveries) == (device._guard.module.epoch, 0)
    device.close()


def test_while_the_device_is_away_nobody_is_kept_and_then_it_comes_back_by_itself(
    far: Device, remote: Remote
):
    with Crowd(far) as crowd:
        crowd.until("right", 50)
        remote.stop()
        wait_until(lambda: far.snapshot().state == "away" and far.snapshot().failed_attempts > 2)
        with pytest.raises(DeviceUnavailable, match="away") as raised:
            far.random(1)
        assert raised.value.retry_after_seconds == 1
        remote.start()
        crowd.until("right", 50)
    assert set(crowd.outcomes) == {"right", "unavailable"}
    assert far.snapshot().state == "well"


def test_without_aes_key_wrap_keys_are_delivered_sealed_alone_and_earlier_users_are_served(
    token_uri: str, remote: Remote
):
    near = Device.open(token_uri)
    user = KeyRef(KeyKind.SECRET, secrets.token_bytes(16))
    near.issue(secrets.token_bytes(32), [user.id], "countersign-user-khmac")
    far = Device.open(remote.uri)
    assert (far.strategy, far.sealing) == (None, Strategy.COPY_DOWN)
    with pytest.raises(DeliveryRefused):
        far.issue(secrets.token_bytes(32), [secrets.token_bytes(16)], "countersign-user-khmac")
    assert far.mac(user, b"x") == near.mac(user, b"x")
    assert far.user_keys() == [user]
    phone, sealed = rsa.generate_private_key(65537, 2048), KeyRef(KeyKind.SECRET, secrets.token_bytes(16))
    trial = conformance.by_rsa(phone, "SHA-1")
    (wrapped,) = far.issue(trial.cover, [sealed.id], "countersign-user-khmac")
    assert hmac.digest(trial.open(wrapped), b"x", "sha256") == near.mac(sealed, b"x")
    assert far.destroy(user) is True
    far.close()
    near.close()


def test_a_pin_that_is_refused_after_a_loss_stops_the_device_for_good(far: Device, remote: Remote):
    pin_file_of(remote.uri).write_text("not the pin\n")
    remote.send(signal.SIGKILL)
    for _ in range(3):
        with pytest.raises(DeviceUnavailable, match="was refused"):
            far.random(1)
    assert far.snapshot().state == "stopped"
    assert far.snapshot().failed_attempts == 0
