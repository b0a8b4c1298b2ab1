"""Is a token searched to the end while another process creates and destroys keys on it?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hsm.device import Device

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
