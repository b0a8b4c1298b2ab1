"""Does every reason for which the device cannot start say what is wrong and how to mend it?"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hsm import selftest
from hsm.device import Device
from hsm.errors import (
    InvalidUri,
    MechanismMissing,
    ModuleUnusable,
    PinRejected,
    PinUnreadable,
    SelfTestFailed,
    StartupError,
    TokenMissing,
)
from tests.hsm.programs import run
from tests.tokens import MODULE, pin_file_of

SPY = Path("/usr/lib/x86_64-linux-gnu/pkcs11/pkcs11-spy.so")


def refused(uri: str, kind: type[StartupError]) -> str:
    with pytest.raises(kind) as raised:
        Device.open(uri)
    assert raised.value.mend
    assert raised.value.mend in str(raised.value)
    return str(raised.value)


def test_a_module_that_is_not_there(token_uri: str):
    assert "/no/such.so" in refused(token_uri.replace(MODULE, "/no/such.so"), ModuleUnusable)


def test_a_file_that_is_no_library(token_uri: str, tmp_path: Path):
    (tmp_path / "module.so").write_text("text")
    assert "cannot be loaded" in refused(
        token_uri.replace(MODULE, str(tmp_path / "module.so")), ModuleUnusable
    )


def test_a_token_that_is_not_there(token_uri: str):
    text = refused(token_uri.replace("token=test", "token=tset"), TokenMissing)
    assert "no token" in text
    assert "softhsm2-util --init-token" in text


def test_a_pin_file_that_is_not_there_or_empty(token_uri: str):
    refused(token_uri + "x", PinUnreadable)
    pin_file_of(token_uri).write_text("\n")
    assert "empty" in refused(token_uri, PinUnreadable)


@pytest.mark.parametrize("part", ["token", "module-path", "pin-source"])
def test_a_uri_that_lacks_a_part(token_uri: str, part: str):
    refused(token_uri.replace(part, "x-" + part), InvalidUri)
    path, _, query = token_uri.removeprefix("pkcs11:").partition("?")
    pairs = [pair for pair in [path, *query.split("&")] if not pair.startswith(part)]
    refused("pkcs11:" + (f"{pairs[0]}?{pairs[1]}" if part != "token" else "?" + "&".join(pairs)), InvalidUri)


def test_no_error_repeats_the_pin(token_uri: str):
    pin = "this-is-not-the-pin"
    pin_file_of(token_uri).write_text(pin)
    assert pin not in refused(token_uri, PinRejected)


def test_a_wrong_pin_is_tried_once_and_never_again_in_this_process(token_uri: str):
    right = pin_file_of(token_uri).read_text()
    pin_file_of(token_uri).write_text("wrong")
    assert "was refused (0xa0)" in refused(token_uri, PinRejected)
    pin_file_of(token_uri).write_text(right)
    assert "is not tried again" in refused(token_uri, PinRejected)


@pytest.mark.skipif(not SPY.exists(), reason="pkcs11-spy of opensc-pkcs11 is not installed")
@pytest.mark.parametrize("pin_is_right", [True, False])
def test_the_module_sees_one_login(token_uri: str, tmp_path: Path, pin_is_right: bool):  # noqa: FBT001
    if not pin_is_right:
        pin_file_of(token_uri).write_text("wrong")
    log = tmp_path / "calls"
    environment = os.environ | {"PKCS11SPY": MODULE, "PKCS11SPY_OUTPUT": str(log)}
    source = """
for _ in range(3):
    try: device = Device.open(URI)
    except Exception as exc: print(type(exc).__name__)
    else: print("opened"); device.close(); break
"""
    done = run(source, token_uri.replace(MODULE, str(SPY)), environment)
    assert done.lines() == (["opened"] if pin_is_right else ["PinRejected"] * 3)
    calls = [line.split(": ")[1] for line in log.read_text().splitlines() if ": C_" in line]
    assert calls.count("C_Login") == 1
    assert calls.count("C_Logout") == 0
    assert calls.count("C_OpenSession") == calls.count("C_CloseSession")


class SlotWithout:
    """The slot of a token as a module with fewer mechanisms would show it."""

    def __init__(self, slot: object, missing: object) -> None:
        self.slot, self._mechanisms = self, slot.get_mechanisms() - {missing}

    def get_mechanisms(self) -> set[object]:
        return self._mechanisms


@pytest.mark.parametrize("mechanism", selftest.REQUIRED)
def test_a_missing_mechanism_is_named(device: Device, mechanism: object):
    device.random(1)  # it follows, where another device of this process initialised the module again
    slot = device._guard._connection.login_session.token.slot
    with pytest.raises(MechanismMissing, match=mechanism.name):
        selftest.require_mechanisms(SlotWithout(slot, mechanism))


@pytest.mark.parametrize("answer", ["_HMAC_VALUE", "_SIGNATURE"])
def test_a_wrong_answer_in_the_self_test_stops_the_start(
    own_device: Device, monkeypatch: pytest.MonkeyPatch, answer: str
):
    expected = getattr(selftest, answer)
    monkeypatch.setattr(selftest, answer, bytes([expected[0] ^ 1]) + expected[1:])
    with pytest.raises(SelfTestFailed, match="Do not use this token"):
        own_device._guard.change(lambda _, session: selftest.test_known_answers(session, None))


def test_the_known_answers_are_right(own_device: Device):
    assert own_device._guard.change(lambda _, session: selftest.test_known_answers(session, None)) is True


def test_starting_again_and_again_leaves_nothing_on_the_token(new_token: Callable[[], str]):
    uri = new_token()
    for _ in range(3):
        device = Device.open(uri, sessions=2)
        assert device.warm() == 0
        device.close()
