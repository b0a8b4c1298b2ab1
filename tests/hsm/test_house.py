"""Is there one of each of the gateway's own keys, whoever makes them at the same moment?"""

from __future__ import annotations

import fcntl
import json
import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hsm import ecdsa, templates, wrapping
from hsm.device import Device
from hsm.errors import HouseKeyDoubled
from hsm.keys import ID_LENGTH
from tests.tokens import pin_file_of

ROOT = Path(__file__).parents[2]
NAMES = [f"at{letter}" for letter in "abcdefghijklmnopqrst"]
MAKER = """
import json, sys
from hsm.device import Device
device = Device.open(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
made = {name: [device.create_house_key(name), device.create_house_pair(name)] for name in sys.argv[2:]}
print(json.dumps(made))
"""


def double_secret(device: Device, label: str) -> None:
    """Put a second key of this label onto the token, as somebody else would."""
    new_id = secrets.token_bytes(ID_LENGTH)
    template = templates.hmac_key(new_id, label, stored=True, extractable=False, modifiable=False)
    device._guard.change(lambda _, session: wrapping.generate(session, template))


def test_who_makes_a_key_waits_for_the_others_with_its_pin_file(own_device: Device, token_uri: str):
    """Each looks again, but SoftHSM overlooks what another process made right before it made something itself."""
    with pin_file_of(token_uri).open("rb") as others, ThreadPoolExecutor(1) as pool:
        fcntl.flock(others, fcntl.LOCK_EX)
        making = pool.submit(own_device.create_house_pair, "turn")
        with pytest.raises(TimeoutError):
            making.result(0.5)
        fcntl.flock(others, fcntl.LOCK_UN)
        assert making.result(60)


def test_of_two_processes_that_make_the_same_keys_at_once_one_makes_each(own_device: Device, token_uri: str):
    command = [sys.executable, "-c", MAKER, token_uri, *NAMES]
    makers = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for maker in makers:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "open\n"
    for maker in makers:
        assert maker.stdin is not None
        print(file=maker.stdin, flush=True)
    first, second = (json.loads(maker.communicate(timeout=120)[0]) for maker in makers)
    for name in NAMES:
        own_device.house_key(name)
        own_device.house_pair(name)
        assert [sorted(each) for each in zip(first[name], second[name], strict=True)] == [[False, True]] * 2


def test_a_house_key_that_is_there_twice_is_named_with_how_to_mend_it(own_device: Device):
    double_secret(own_device, "countersign-binding-1")
    with pytest.raises(HouseKeyDoubled, match=r"'countersign-binding-1'.*backup"):
        own_device.house_key("binding")


def test_a_house_pair_that_is_there_twice_is_named(own_device: Device):
    for _ in range(2):
        own_device._guard.change(
            lambda _, session: ecdsa.generate_pair(session, "countersign-receipt-1", private=True)
        )
    with pytest.raises(HouseKeyDoubled, match="'countersign-receipt-1'"):
        own_device.house_pair("receipt")
