"""Does the second of two tokens take over when the first is lost, and does nobody get a wrong answer by it?"""

from __future__ import annotations

import hashlib
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hsm.device import Device
from hsm.errors import DeviceUnavailable, KeyElsewhere, KeyMissing, StartupError
from hsm.housecheck import HouseName
from hsm.keys import KeyKind, KeyRef
from hsm.limits import Limits
from hsm.pace import Pace
from hsm.sessions import open_session
from hsm.tokens import Tokens
from tests.hsm.remote import Remote
from tests.hsm.test_remote import wait_until
from tests.hsm.twins import served_copy

QUICK = Pace(first=0.05, longest=0.2, most_initialisations=1000)
LIMITS = Limits(sessions=4, wait_seconds=5, call_seconds=60, pace=QUICK)
# A search that fails because the device is lost is heard of by python-pkcs11 once more, when it is collected.
NOISE = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
DIGEST = hashlib.sha256(b"x").digest()
LABEL = "countersign-user-kpublic"


@dataclass
class Pair:
    """The first token, which can be killed, is a copy of the second."""

    first: Remote
    near: Device  # the second, without the first
    tokens: Tokens

    def state(self, number: int) -> str:
        return self.tokens.standings()[number - 1].state

    @property
    def serving(self) -> int:
        return next((each.number for each in self.tokens.standings() if each.serves), 0)


@pytest.fixture
def near(token_uri: str) -> Iterator[Device]:
    """A device on a token with some of the gateway's own keys."""
    with closing(Device.open(token_uri, sessions=4)) as opened:
        opened.create_house_key("binding")
        opened.create_house_key("webhook")
        opened.create_house_pair("receipt")
        yield opened


@pytest.fixture
def first(near: Device, token_uri: str, token_directory: Path, tmp_path: Path) -> Iterator[Remote]:
    """Its twin, behind a server."""
    served = served_copy(token_uri, tmp_path, token_directory)
    yield served
    served.stop()


def opened(first: Remote, token_uri: str, limits: Limits = LIMITS) -> Tokens:
    """Both, as a gateway opens them: its own keys are asked for, then all are compared."""
    tokens = Tokens.open([first.uri, token_uri], limits)
    for name in ("binding", "webhook"):
        tokens.house_key(name)
    tokens.house_pair("receipt")
    tokens.compare()
    return tokens


@pytest.fixture
def pair(first: Remote, near: Device, token_uri: str) -> Iterator[Pair]:
    """Both, open and the same."""
    with closing(opened(first, token_uri)) as tokens:
        both = Pair(first, near, tokens)
        wait_until(lambda: both.serving == 1)
        assert [each.differences for each in tokens.standings()] == [(), ()]
        yield both


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
    with closing(opened(first, token_uri, Limits(sessions=2, wait_seconds=0.5, pace=QUICK))) as tokens:
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
    assert (pair.near._guard._connection, _files(), threading.active_count()) == before[:3]
    assert (
        _next_session(pair) == before[3] + 1
    )  # SoftHSM counts: between the two none was opened on the second
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


def test_a_twin_with_another_key_of_the_gateway_never_serves(first: Remote, near: Device, token_uri: str):
    near.destroy_house_key("webhook", 1)
    near.create_house_key("webhook")
    with closing(opened(first, token_uri)) as tokens:
        one, two = tokens.standings()
        assert (one.serves, one.differences) == (True, ())
        assert (two.serves, two.differences) == (False, ("countersign-webhook-1 is another key",))
        key = tokens.house_key("webhook")
        first.stop()
        for ask in (lambda: tokens.mac(key, b"x"), lambda: tokens.random(8)):
            with pytest.raises(DeviceUnavailable):
                ask()


def test_which_of_two_that_differ_is_right_is_for_the_values_that_are_expected(
    first: Remote, near: Device, token_uri: str
):
    with closing(Tokens.open([token_uri], LIMITS)) as before:
        before.house_key("webhook")
        right = before.checks()
    near.destroy_house_key("webhook", 1)
    near.create_house_key("webhook")
    with closing(Tokens.open([token_uri, first.uri], LIMITS)) as tokens:
        tokens.expect(right)
        tokens.house_key("webhook")
        assert [each.serves for each in tokens.standings()] == [False, True]


def test_a_token_that_comes_back_with_other_keys_is_refused(pair: Pair, near: Device):
    near.destroy_house_key("webhook", 1)
    pair.tokens.compare()
    assert pair.tokens.standings()[1].differences == ("countersign-webhook-1 is missing",)
    assert pair.serving == 1


@NOISE
def test_a_key_on_the_lost_token_alone_is_unavailable_and_never_missing(pair: Pair):
    point = ec.generate_private_key(ec.SECP256R1()).public_key()
    raw = point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    key = pair.tokens.import_public(secrets.token_bytes(16), raw, LABEL)  # on the first
    assert pair.tokens.public_point(key) == raw
    pair.first.stop()
    with pytest.raises(KeyElsewhere, match="another token cannot be asked"):
        pair.tokens.public_point(key)
    with pytest.raises(KeyElsewhere):  # whoever wants it destroyed has to come again
        pair.tokens.destroy(key)
    pair.first.start()
    wait_until(lambda: pair.state(1) == "well")
    assert pair.tokens.public_point(key) == raw
    assert pair.tokens.destroy(key) is True
    with pytest.raises(KeyMissing):
        pair.tokens.public_point(key)
    assert pair.tokens.destroy(key) is False


def test_a_key_on_the_second_alone_serves_and_is_told(pair: Pair):
    user = KeyRef(KeyKind.SECRET, secrets.token_bytes(16))
    pair.near.issue(secrets.token_bytes(32), [user.id], "countersign-user-khmac")
    assert pair.tokens.mac(user, b"x") == pair.near.mac(user, b"x")
    assert [each.strays for each in pair.tokens.standings()] == [1, 0]
    assert pair.serving == 1
    assert pair.tokens.user_keys() == [user]


def test_a_key_that_does_not_reach_the_other_token_is_told_after_a_grace(pair: Pair):
    ids = [secrets.token_bytes(16)]
    pair.near.issue(secrets.token_bytes(32), ids, "countersign-user-khmac")
    pair.tokens._all.note_made([KeyRef(KeyKind.SECRET, ids[0])])
    pair.tokens.compare()
    assert [each.strays for each in pair.tokens.standings()] == [0, 0]
    moment, key = pair.tokens._all._made.pop()
    pair.tokens._all._made.append((moment - 61, key))
    pair.tokens.compare()
    assert [each.strays for each in pair.tokens.standings()] == [1, 0]


def test_a_start_with_the_first_away_serves_and_takes_it_in_when_it_comes(
    first: Remote, near: Device, token_uri: str
):
    first.stop()
    with closing(opened(first, token_uri)) as tokens:
        away, there = tokens.standings()
        assert (away.serves, away.state, there.serves) == (False, "away", True)
        assert "cannot list its tokens" in away.why
        key = tokens.house_key("binding")
        answer = tokens.mac(key, b"x")
        first.start()
        wait_until(lambda: tokens.standings()[0].serves)
        assert tokens.mac(key, b"x") == answer


def test_a_start_with_all_away_says_what_is_wrong_with_the_first(first: Remote):
    first.stop()
    with pytest.raises(StartupError, match="cannot list its tokens"):
        Tokens.open([first.uri, first.uri], LIMITS)


def test_a_new_version_counts_once_every_token_that_serves_has_it(pair: Pair):
    pair.near.create_house_key("binding", 2)
    assert pair.tokens.find_house_key("binding", 2) is None  # the first has none
    assert pair.tokens.create_house_key("binding", 2) is False  # and gets no other of this name
    assert pair.tokens.find_house_key("binding", 2) is None
    assert pair.tokens.create_house_key("binding", 3) is True  # on the first
    assert pair.tokens.find_house_key("binding", 3) is None
    assert pair.tokens.standings()[1].awaited == ("countersign-binding-3",)
    assert pair.tokens.destroy_house_key("binding", 3) is True
    assert HouseName("binding", 3) not in pair.tokens.checks()
    assert pair.serving == 1


def test_keys_of_the_gateway_are_made_and_destroyed_only_while_all_tokens_are_there(pair: Pair):
    pair.first.stop()
    wait_until(lambda: pair.serving == 2 or pair.tokens.random(1) == b"")
    with pytest.raises(DeviceUnavailable):
        pair.tokens.create_house_key("decoy")
    with pytest.raises(DeviceUnavailable):
        pair.tokens.destroy_house_key("webhook", 1)
    assert pair.near.find_house_key("webhook", 1) is not None
    assert pair.near.find_house_key("decoy", 1) is None


def test_everything_a_device_offers_two_tokens_offer_too():
    offered = {name for name in dir(Device) if not name.startswith("_")}
    assert offered - set(dir(Tokens)) == {"reopen", "snapshot", "recovery", "has_waited"}
