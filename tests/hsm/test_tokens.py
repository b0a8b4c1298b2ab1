"""Does the second of two tokens take over when the first is lost, and does nobody get a wrong answer by it?"""

from __future__ import annotations

import re
import secrets
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hsm.device import Device
from hsm.errors import DeviceUnavailable, HouseKeyMissing, KeyElsewhere, KeyMissing, PinRejected, StartupError
from hsm.housecheck import HouseName
from hsm.keys import KeyKind, KeyRef
from hsm.pace import Pace
from hsm.tokens import Tokens
from tests.hsm.remote import Remote
from tests.hsm.test_remote import wait_until
from tests.hsm.twins import LIMITS, NOISE, Pair, opened
from tests.tokens import pin_file_of

LABEL = "countersign-user-kpublic"


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


def _point() -> bytes:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@NOISE
def test_a_key_on_the_lost_token_alone_is_unavailable_and_never_missing(pair: Pair):
    raw = _point()
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
        assert re.search("cannot list its tokens|shows no token", away.why)
        key = tokens.house_key("binding")
        answer = tokens.mac(key, b"x")
        first.start()
        wait_until(lambda: tokens.standings()[0].serves)
        assert tokens.mac(key, b"x") == answer


def test_a_start_with_all_away_says_what_is_wrong_with_the_first(first: Remote):
    first.stop()
    with pytest.raises(StartupError, match=r"cannot list its tokens|shows no token"):
        Tokens.open([first.uri, first.uri], LIMITS)


@NOISE
def test_a_wrong_pin_of_one_token_refuses_the_start_and_names_the_token(
    first: Remote, near: Device, token_uri: str, tmp_path: Path
):
    wrong, _ = _with_wrong_pin(first, tmp_path)
    for uris, number in (([wrong, token_uri], 1), ([token_uri, wrong], 2)):
        with pytest.raises(
            PinRejected, match=rf"(?s)^Token {number} \(.*The PIN .*leave out the URI"
        ) as raised:
            Tokens.open(uris, LIMITS)
        assert raised.value.mend in str(raised.value)


def test_a_pin_that_is_refused_after_the_start_is_not_tried_again_in_this_process(
    first: Remote, near: Device, token_uri: str, tmp_path: Path
):
    wrong, pin_file = _with_wrong_pin(first, tmp_path)
    first.stop()
    with closing(Tokens.open([wrong, token_uri], LIMITS)) as tokens:
        first.start()
        wait_until(lambda: tokens.standings()[0].state == "stopped")
        pin_file.write_text(pin_file_of(token_uri).read_text())
        assert tokens._all.members[0].begin_to_open() is None
        assert "PIN of the token was refused" in tokens.standings()[0].why
        assert tokens.standings()[1].serves


def _with_wrong_pin(first: Remote, folder: Path) -> tuple[str, Path]:
    """Return the URI of the first token with a PIN file of its own, which is wrong."""
    pin_file = folder / "pin"
    pin_file.write_text("wrong")
    return f"{first.uri.partition('&pin-source=')[0]}&pin-source=file:{pin_file}", pin_file


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


def test_a_new_version_does_not_count_while_a_token_is_away_that_may_not_have_it(pair: Pair):
    assert pair.tokens.create_house_key("binding", 2) is True  # on the first
    pair.tokens._all.members[1].required().recovery.stop("lost")
    assert pair.tokens.find_house_key("binding", 2) is None
    assert HouseName("binding", 2) not in pair.tokens.checks()


def test_a_new_pair_does_not_count_while_a_token_is_away_that_may_not_have_it(pair: Pair):
    assert pair.tokens.create_house_pair("receipt", 2) is True
    pair.tokens._all.members[1].required().recovery.stop("lost")
    with pytest.raises(HouseKeyMissing):
        pair.tokens.house_pair("receipt", 2)
    assert pair.tokens.house_pair("receipt", 1)  # which was compared before


def test_keys_of_the_gateway_are_made_and_destroyed_only_while_all_tokens_are_there(pair: Pair):
    pair.first.stop()
    wait_until(lambda: pair.serving == 2 or pair.tokens.random(1) == b"")
    with pytest.raises(DeviceUnavailable):
        pair.tokens.create_house_key("decoy")
    with pytest.raises(DeviceUnavailable):
        pair.tokens.destroy_house_key("webhook", 1)
    assert pair.near.find_house_key("webhook", 1) is not None
    assert pair.near.find_house_key("decoy", 1) is None


def test_a_key_of_the_gateway_that_one_token_lost_already_can_be_destroyed_on_the_other(pair: Pair):
    pair.near.destroy_house_key("webhook", 1)  # as far as it came
    pair.tokens.compare()
    with pytest.raises(DeviceUnavailable, match="countersign-webhook-1 is missing"):
        pair.tokens.destroy_house_key("binding", 1)
    assert pair.tokens.destroy_house_key("webhook", 1) is True
    assert pair.tokens.find_house_key("webhook", 1) is None
    wait_until(lambda: [each.differences for each in pair.tokens.standings()] == [(), ()])
    assert pair.tokens.create_house_key("decoy") is True  # all are there and alike


@NOISE
def test_what_a_token_with_other_keys_says_of_a_key_to_destroy_is_not_believed(pair: Pair):
    user = pair.tokens.import_public(secrets.token_bytes(16), _point(), LABEL)  # on the first
    pair.near.destroy_house_key("webhook", 1)
    pair.tokens.compare()
    with pytest.raises(KeyElsewhere, match="countersign-webhook-1 is missing"):
        pair.tokens.destroy(user)
    with pytest.raises(KeyElsewhere):  # it stays unknown, however often it is asked
        pair.tokens.destroy(user)


def test_a_key_is_made_without_waiting_for_another_token(pair: Pair):
    other = pair.tokens._all.members[1]
    with other._alone():  # somebody has it prove itself, and it takes its time
        other._proved = None
        asked = time.monotonic()
        pair.tokens.import_public(secrets.token_bytes(16), _point(), LABEL)
        assert time.monotonic() - asked < LIMITS.wait_seconds


def test_all_tokens_are_closed_although_one_cannot_be(first: Remote, near: Device, token_uri: str):
    with closing(opened(first, token_uri)) as tokens:
        one, two = (each.required() for each in tokens._all.members)
        one._guard.limits = replace(one._guard.limits, wait_seconds=0.2)  # for the end alone
        with one._guard.module.lock.exclusive(5):  # a call that does not come back in time
            tokens.close()
        for each in (one, two):
            with pytest.raises(DeviceUnavailable, match="was closed"):
                each.random(1)


def test_everything_a_device_offers_two_tokens_offer_too():
    offered = {name for name in dir(Device) if not name.startswith("_")}
    assert offered - set(dir(Tokens)) == {"snapshot", "recovery", "has_waited"}


def test_a_module_is_hardly_initialised_again_while_one_of_its_tokens_answers(near: Device):
    loaded = near._guard.module
    with loaded.lock.exclusive(5):
        loaded.reinitialized.append(time.monotonic())
        seconds = loaded.seconds_to_reinitialisation(Pace())
        loaded.reinitialized.pop()
    assert 50 < seconds <= 60
