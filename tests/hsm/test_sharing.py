"""Is a token found, and searched to the end, while another process works with it?"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hsm import sighting
from hsm.device import Device
from tests.hsm.programs import Program, run
from tests.tokens import pin_file_of

ROOT = Path(__file__).parents[2]
SEARCHES = 150

# Creates and destroys until its input is closed; says how often.
_RESTLESS = """
import secrets, sys, threading
from hsm.device import Device
from hsm.keys import KeyKind, KeyRef

device, told, turns = Device.open(sys.argv[1]), threading.Event(), 0
threading.Thread(target=lambda: (sys.stdin.read(), told.set()), daemon=True).start()
print("ready", flush=True)
while not told.is_set():
    ids = [secrets.token_bytes(16) for _ in range(12)]
    device.issue(secrets.token_bytes(32), ids, "countersign-user-khmac")
    for each in ids:
        assert device.destroy(KeyRef(KeyKind.SECRET, each))
    turns += 1
print(turns)
"""


def test_a_search_leaves_out_what_another_process_destroys_and_finds_all_the_rest(
    own_device: Device, token_uri: str
):
    kept = own_device.house_key("binding")
    at_rest = own_device.warm()
    command = [sys.executable, "-c", _RESTLESS, token_uri]
    with subprocess.Popen(command, cwd=ROOT, stdin=-1, stdout=-1, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        swept = [own_device.warm() for _ in range(SEARCHES)]
        while max(swept) == at_rest:  # the other had no turn meanwhile
            swept.append(own_device.warm())
        assert {own_device.house_key("binding") for _ in range(SEARCHES)} == {kept}
        other.stdin.close()
        assert int(other.stdout.read()) > 0
    assert min(swept) >= at_rest
    assert max(swept) > at_rest  # it met the other's keys, so it could have stumbled over them
    assert own_device.snapshot().reinitialisations == 0


# Another process writes to the token at the start: SoftHSM shows it as little as one whose folder is elsewhere.
_STARTING = """
from pathlib import Path

from hsm import module

loaded = module.load(MODULE)
folder = Path(token_folder())
aside = folder.rename(folder.parent.with_name("aside-" + folder.name))
loaded.reinitialize()  # as a process that starts does
back = threading.Timer(float(os.environ["SECONDS"]), aside.rename, [folder])
back.start()
try:
    Device.open(URI).close()
    print("opened")
except Exception as error:
    print(type(error).__name__)
back.cancel()
back.join()
if aside.exists():
    aside.rename(folder)
"""


# It reads the token's file just when another process has emptied it and not yet written it.
_BLINDED = """
import subprocess
from pathlib import Path

from hsm import module

loaded = module.load(MODULE)
device = Device.open(URI)
file = Path(token_folder()) / "token.object"
content = file.read_bytes()
file.write_bytes(b"")
try: loaded.token(LABEL)
except Exception as error: print(type(error).__name__)
file.write_bytes(content)
made = "import sys; from hsm.device import Device; print(Device.open(sys.argv[1]).create_house_key('webhook'))"
print(subprocess.run([sys.executable, "-c", made, URI], capture_output=True, text=True, check=True).stdout.strip())
print(device.SOUGHT, device.snapshot().reinitialisations)
"""


@pytest.mark.parametrize(
    ("sought", "said"),
    [("house_key('webhook').kind", "secret-key 1"), ("create_house_key('webhook')", "False 1")],
)
def test_keys_of_others_are_found_by_a_device_that_read_the_token_in_a_bad_moment(
    token_uri: str, sought: str, said: str
):
    ended = run(_BLINDED.replace("SOUGHT", sought), token_uri)
    assert ended.lines() == ["ModuleUnusable", "True", said]


@pytest.mark.parametrize(("seconds", "said"), [("0.2", "opened"), ("600", "TokenMissing")])
def test_a_token_that_is_not_shown_for_a_moment_is_looked_for_again(token_uri: str, seconds: str, said: str):
    ended = run(_STARTING, token_uri, {**os.environ, "SECONDS": seconds})
    assert ended.lines() == [said]


# The PIN file is not there: each opening reads the slots and the mechanisms, and ends before it logs in.
_BESIDE = """
from hsm import module
from hsm.errors import PinUnreadable

loaded = module.load(MODULE)


def look():
    while not over.wait(0.0005): loaded.look_again(30)


def open_often(number):
    for _ in range(100):
        try: Device.open(URI + "-nowhere", wait_seconds=30)
        except PinUnreadable: done.append(number)


over, looking = threading.Event(), threading.Thread(target=look)
looking.start()
in_threads(2, open_often)
over.set()
looking.join()
print(len(done))
"""


def test_tokens_are_opened_while_another_thread_looks_for_its_own(program: Callable[[str], Program]):
    assert program(_BESIDE).lines() == ["200"]


# What SoftHSM answers to who looks at a key just when another process makes it.
_UNCLEAR = """
from hsm.errors import DeviceUnavailable

device = Device.open(URI)
device.create_house_key("binding")
ref = device.house_key("binding")
shim.order("C_FindObjectsInit", answer=0x05, times=1)
print(len(device.mac(ref, b"x")), device.house_key("binding") == ref, device.snapshot().reinitialisations)
shim.order("C_FindObjectsInit", answer=0x05)
try: device.house_key("binding")
except DeviceUnavailable as error: print(error)
"""


def test_a_search_that_was_answered_unclearly_is_made_again_and_never_taken_for_bad_input(
    misbehaving_program: Callable[[str], Program],
):
    told = "the device does not answer (SearchFailed, 0x5)"
    assert misbehaving_program(_UNCLEAR).lines() == ["32 True 0", told]


def test_a_token_is_opened_when_nobody_else_with_its_pin_file_is_just_opening_one(token_uri: str):
    opened: list[Device] = []
    with pin_file_of(token_uri).open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)  # as another process that is at this point
        opening = threading.Thread(target=lambda: opened.append(Device.open(token_uri, wait_seconds=60)))
        opening.start()
        opening.join(0.3)
        assert opening.is_alive()
    opening.join(60)
    (device,) = opened
    device.close()


@pytest.mark.parametrize("is_there", [True, False])
def test_who_does_not_get_its_turn_in_time_or_cannot_know_goes_on(tmp_path: Path, *, is_there: bool):
    file = tmp_path / "pin"
    with contextlib.ExitStack() as others:
        if is_there:
            file.write_text("1234")
            fcntl.flock(others.enter_context(file.open("rb")), fcntl.LOCK_EX)
        with sighting.in_turn(file, 0.05):
            pass
