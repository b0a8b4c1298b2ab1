"""Is a token found, and searched to the end, while another process works with it?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hsm.device import Device
from hsm.uri import TokenUri
from tests.hsm.programs import run
from tests.tokens import MODULE, pin_file_of

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
        assert {own_device.house_key("binding") for _ in range(SEARCHES)} == {kept}
        other.stdin.close()
        assert int(other.stdout.read()) > 0
    assert min(swept) >= at_rest
    assert max(swept) > at_rest  # it met the other's keys, so it could have stumbled over them
    assert own_device.snapshot().reinitialisations == 0


# Starts and logs in over and over, until its input is closed.
_COMING_AND_GOING = """
import contextlib, sys, threading, time
from hsm import module

path, label, pin = sys.argv[1], sys.argv[2], open(sys.argv[3]).read().strip()
loaded, told = module.load(path), threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), told.set()), daemon=True).start()
print("ready", flush=True)
while not told.is_set():
    try:
        loaded.token(label).open(user_pin=pin).close()
    except Exception:  # the other process is in the way here, too
        with contextlib.suppress(Exception):
            loaded.reinitialize()
    time.sleep(0.01)
"""
_STARTING = """
from hsm import module
from hsm.errors import StartupError

missed = starts = 0
while missed < 5 and starts < 400:
    starts += 1
    loaded = module.load(MODULE)
    loaded.reinitialize()  # as a process that starts does
    try:
        loaded.token(LABEL)
    except StartupError:
        missed += 1
    Device.open(URI).close()
print(missed)
"""


def test_a_token_that_another_process_logs_in_to_is_found_all_the_same(token_uri: str):
    where = TokenUri.parse(token_uri)
    command = [sys.executable, "-c", _COMING_AND_GOING, MODULE, where.token, str(pin_file_of(token_uri))]
    with subprocess.Popen(command, cwd=ROOT, stdin=-1, stdout=-1, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        missed = int(run(_STARTING, token_uri).lines()[0])
        other.stdin.close()
        assert other.wait() == 0
    assert missed > 0  # else this shows nothing
