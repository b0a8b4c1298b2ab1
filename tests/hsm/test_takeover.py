"""How long is the loss of the first of two tokens felt, and is anything used up by it?"""

from __future__ import annotations

import hashlib
import shutil
import signal
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Self

import pytest

from hsm.device import Device
from hsm.errors import DeviceUnavailable
from hsm.limits import Limits
from hsm.sessions import open_session
from hsm.tokens import Tokens
from tests.hsm.programs import run
from tests.hsm.remote import Remote
from tests.hsm.test_remote import wait_until
from tests.hsm.twins import LIMITS, QUICK, Pair, opened, twin_beside

DIGEST = hashlib.sha256(b"x").digest()


class Crowd:
    """Threads that use keys all the time, alone and together, and compare every answer."""

    def __init__(self, tokens: Tokens, threads: int = 8) -> None:
        self.tokens = tokens
        self.key, (private, self.public) = tokens.house_key("binding"), tokens.house_pair("receipt")
        self.expected, self.signature = tokens.mac(self.key, b"x"), tokens.sign(private, DIGEST)
        self.outcomes: Counter[str] = Counter()
        self.last = [0.0] * threads  # when each was last answered
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

    def until_all_are_served(self, since: float) -> float:
        """Return how long it took until everybody had an answer to what was asked after this moment."""
        wait_until(lambda: min(self.last) > since)
        return max(self.last) - since if min(self.last) > since else 0.0

    def _once(self, number: int) -> bool:
        if number % 3 == 0:
            return self.tokens.mac(self.key, b"x") == self.expected
        if number % 3 == 1:
            return self.tokens.verify(self.public, DIGEST, self.signature)
        return self.tokens.together(
            lambda desk: (
                desk.mac(self.key, b"x") == self.expected and desk.verify(self.public, DIGEST, self.signature)
            )
        )

    def _work(self, number: int) -> None:
        while not self._over.is_set():
            asked = time.monotonic()
            try:
                outcome = "right" if self._once(number) else "wrong"
            except DeviceUnavailable:
                outcome = "unavailable"
            except Exception as exc:  # noqa: BLE001  # that is what the test looks for
                outcome = repr(exc)
            self.outcomes[outcome] += 1
            if outcome == "right":
                self.last[number] = asked


def test_the_second_takes_over_without_an_error_to_anybody_and_gives_back(pair: Pair):
    with Crowd(pair.tokens) as crowd:
        crowd.until_all_are_served(time.monotonic())
        pair.first.stop()
        lost = time.monotonic()
        crowd.until_all_are_served(lost)
        took = time.monotonic() - lost
        assert pair.serving == 2
        pair.first.start()
        wait_until(lambda: pair.serving == 1)
        crowd.until_all_are_served(time.monotonic())
    print(f"all eight were served by the second after {took:.3f} s")  # noqa: T201 - read with -s
    assert set(crowd.outcomes) == {"right"}
    assert took < LIMITS.wait_seconds
    assert pair.tokens.takeovers >= 2
    assert pair.state(1) == "well"


def test_a_first_token_that_stands_still_is_passed_over(first: Remote, near: Device, token_uri: str):
    with closing(opened(first, token_uri, Limits(sessions=2, wait_seconds=1.5, pace=QUICK))) as tokens:
        with Crowd(tokens) as crowd:
            crowd.until_all_are_served(time.monotonic())
            first.send(signal.SIGSTOP)
            wait_until(lambda: tokens.standings()[1].serves)
            before = crowd.outcomes["right"]
            wait_until(lambda: crowd.outcomes["right"] > before + 100)
            first.send(signal.SIGCONT)
            wait_until(lambda: tokens.standings()[0].serves)
            crowd.until_all_are_served(time.monotonic())
        assert set(crowd.outcomes) <= {"right", "unavailable"}


def test_a_start_does_not_wait_for_a_token_that_stands_still(first: Remote, near: Device, token_uri: str):
    first.send(signal.SIGSTOP)
    with closing(opened(first, token_uri, Limits(sessions=2, wait_seconds=0.8, pace=QUICK))) as tokens:
        assert [each.serves for each in tokens.standings()] == [False, True]
        assert tokens.standings()[0].why == "it is being opened"
        first.send(signal.SIGCONT)
        wait_until(lambda: tokens.standings()[0].serves)


@pytest.mark.parametrize("times", [5, pytest.param(20, marks=pytest.mark.long)])
def test_sessions_logins_threads_and_files_do_not_leak_over_failovers(pair: Pair, times: int):
    key = pair.tokens.house_key("binding")
    answer = pair.tokens.mac(key, b"x")
    before = pair.near._guard._connection, _files(), threading.active_count(), _next_session(pair)
    for _ in range(times):
        recovered = _recovered(pair)
        pair.first.send(signal.SIGKILL)
        assert pair.tokens.mac(key, b"x") == answer
        wait_until(lambda recovered=recovered: _recovered(pair) > recovered and pair.serving == 1)
    assert pair.tokens.mac(key, b"x") == answer
    # Others of this process may open something for a moment; what leaks stays.
    wait_until(lambda: (pair.near._guard._connection, _files(), threading.active_count()) == before[:3])
    # SoftHSM counts: between the two none was opened on the second.
    assert _next_session(pair) == before[3] + 1
    assert len(pair.first.children()) == 1


def _files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _recovered(pair: Pair) -> int:
    shot = pair.tokens.standings()[0].shot
    return 0 if shot is None else shot.recoveries


def _next_session(pair: Pair) -> int:
    with pair.near._guard.module.lock.exclusive(5):
        session = open_session(pair.near._guard.module.token(pair.tokens.standings()[1].label))
        session.close()
    return int(session.handle)


_DERIVING = """
from hsm.keys import DerivedRef
from hsm.limits import Limits
from hsm.pace import Pace
from hsm.tokens import Tokens

tokens = Tokens.open([URI, "%s"], Limits(sessions=2, pace=Pace(first=60, longest=60)))
tokens.house_key("binding"), tokens.house_key("master")
tokens.compare()
key = DerivedRef(1, secrets.token_bytes(32))
before = tokens.mac(key, b"x"), tokens.together(lambda desk: desk.mac(key, b"x"), [key])
tokens._all.members[0].device.recovery.stop("lost")
after = tokens.mac(key, b"x"), tokens.together(lambda desk: desk.mac(key, b"x"), [key])
print(len({*before, *after}), [each.serves for each in tokens.standings()])
print(len(tokens.issue_derived(secrets.token_bytes(32), [key])), tokens.standings()[1].differences)
tokens.close()
"""


def test_a_derived_key_is_the_same_on_both_tokens_and_the_second_derives_it_after_a_loss(
    near: Device, token_uri: str
):
    near.create_master()
    serial = near._guard.module.token(token_uri.removeprefix("pkcs11:token=").partition("?")[0]).serial
    twin, folder = twin_beside(token_uri, serial)
    try:
        ended = run(_DERIVING % twin, token_uri)
    finally:
        shutil.rmtree(folder)
    assert ended.lines() == ["1 [False, True]", "1 ()"]
