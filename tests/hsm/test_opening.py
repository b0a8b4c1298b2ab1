"""How often is a PIN presented at a start that fails, what is said of it, and is one that hangs noticed?"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.hsm.programs import Program

Run = Callable[[str], Program]

OPEN = """
from hsm.errors import DeviceError

def outcome(**more):
    try: Device.open(URI, **more).close()
    except DeviceError as error: return type(error).__name__
    return "opened"
"""


@pytest.mark.parametrize(
    ("code", "first", "later"),
    [
        (0x80000067, "LoginRefused", "PinRejected"),  # a vendor's own
        (0x06, "LoginRefused", "PinRejected"),  # it may be about the PIN
        (0x30, "LoginInterrupted", "opened"),
        (0xB3, "LoginInterrupted", "opened"),
    ],
)
def test_a_start_presents_the_pin_once_whatever_the_answer(
    misbehaving_program: Run, code: int, first: str, later: str
):
    program = (
        OPEN
        + f"""
shim.order("C_Login", answer={code})
print(outcome(), shim.calls("C_Login"), shim.calls("C_OpenSession") - shim.calls("C_CloseSession"))
shim.obey_no_more()
print(outcome())
"""
    )
    assert misbehaving_program(program).lines() == [f"{first} 1 0", later]


RECOVERED = """
device = Device.open(URI)
shim.order("C_Login", answer=0x80000067, times=1)
shim.order("C_SignInit", answer=0x101, times=3)
device.create_house_key("binding")
device.mac(device.house_key("binding"), b"x")
print(device.snapshot().recoveries, shim.calls("C_Login"))
"""


def test_a_login_that_was_accepted_before_is_tried_again_after_an_unclear_answer(misbehaving_program: Run):
    assert misbehaving_program(OPEN + RECOVERED).lines() == ["1 3"]


LOST = """
from hsm import module

shim.order("C_GetMechanismList", answer=0x32)
print(outcome(), shim.calls("C_Login"))
print([loaded.watch._listeners for loaded in module._loaded.values()])
shim.obey_no_more()
shim.order("C_GetMechanismList", answer=0x32, times=1)
print(outcome())
"""


def test_a_device_that_is_lost_while_its_mechanisms_are_read_is_told_and_looked_for_again(
    misbehaving_program: Run,
):
    assert misbehaving_program(OPEN + LOST).lines() == ["ModuleUnusable 0", "[[]]", "opened"]


HANGS = """
from hsm.limits import Limits

def end():
    print("told", shim.hanging(), flush=True)
    os._exit(0)

shim.order(FUNCTION, hang=1)
threading.Timer(20, os._exit, [1]).start()
outcome(limits=Limits(sessions=2, call_seconds=0.8), on_hung=end, alone=True)
"""


@pytest.mark.parametrize("function", ["C_GetMechanismList", "C_Login", "C_SignInit"])
def test_a_start_that_hangs_in_the_module_tells_the_process(misbehaving_program: Run, function: str):
    assert misbehaving_program(OPEN + HANGS.replace("FUNCTION", repr(function))).lines() == ["told 1"]


def test_an_opening_that_hangs_tells_who_uses_the_same_module(misbehaving_program: Run):
    """It holds the module's lock: nobody could use the device that is open already."""
    opened = "device = Device.open(URI, limits=Limits(sessions=2, call_seconds=0.8), on_hung=end)\nshim.order"
    program = HANGS.replace("shim.order", opened, 1).replace("on_hung=end, alone=True", "")
    assert misbehaving_program(OPEN + program.replace("FUNCTION", "'C_GetMechanismList'")).lines() == [
        "told 1"
    ]
