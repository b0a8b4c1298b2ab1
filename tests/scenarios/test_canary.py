"""Does the canary notice a token that computes something else, or does not answer?"""

from structlog.testing import capture_logs

from gateway.scenarios.canary import Canary
from hsm.device import Device
from tests.tokens import HOUSE_PAIR


def canary(device: Device) -> Canary:
    private, public = device.house_pair(HOUSE_PAIR)
    return Canary(device, secret=device.house_key("decoy"), private=private, public=public)


def test_it_sings_as_long_as_the_token_computes_the_same(device: Device):
    made = canary(device)
    assert made.last == "not yet"
    assert [made.sing(), made.sing()] == ["ok", "ok"]
    assert (made.last, made.runs["ok"]) == ("ok", 2)


def test_a_token_that_computes_something_else_is_wrong_and_not_away(device: Device):
    made = canary(device)
    made.sing()
    made._secret = device.house_key("webhook")
    assert made.sing() == "wrong"
    made._secret = device.house_key("decoy")
    assert made.sing() == "ok"


def test_a_token_that_does_not_answer_is_away(own_device: Device, own_device_uri: str):
    other = Device.open(own_device_uri)
    made = canary(other)
    other.close()
    with capture_logs() as lines:
        assert [made.sing(), made.sing()] == ["away", "away"]
    assert [(line["event"], line["log_level"]) for line in lines] == [("the token does not answer", "error")]
    assert lines[0]["why"]


def test_a_token_that_answers_again_is_told_once(own_device: Device):
    made = canary(own_device)
    made.last = "away"
    with capture_logs() as lines:
        assert [made.sing(), made.sing()] == ["ok", "ok"]
    assert [(line["event"], line["log_level"]) for line in lines] == [("the token answers again", "info")]
