"""Can one caller use many keys in one turn, and what becomes of the turn when one of them fails?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from hsm.desk import Desk
from hsm.device import Device
from hsm.errors import KeyMissing
from hsm.keys import KeyKind, KeyRef
from tests.hsm.programs import Program


def test_what_is_done_in_one_turn_is_what_is_done_in_many(own_device: Device):
    own_device.create_house_pair("receipt")
    secret, (private, public) = own_device.house_key("binding"), own_device.house_pair("receipt")
    digest = hashlib.sha256(b"x").digest()

    def work(desk: Desk) -> tuple[bytes, bytes, bool]:
        signature = desk.sign(private, digest)
        return desk.mac(secret, b"x"), signature, desk.verify(public, digest, signature)

    before = own_device.snapshot().operations
    mac, signature, verified = own_device.together(work)
    after = own_device.snapshot().operations
    assert verified
    assert mac == own_device.mac(secret, b"x")
    assert own_device.verify(public, digest, signature)
    done = {kind: after[kind] - before.get(kind, 0) for kind in after if after[kind] != before.get(kind, 0)}
    assert done == {("mac", "ok"): 1, ("sign", "ok"): 1, ("verify", "ok"): 1, ("turn", "ok"): 1}


def test_a_key_that_is_not_there_ends_the_turn_and_the_next_one_works(own_device: Device):
    secret, unknown = own_device.house_key("binding"), KeyRef(KeyKind.SECRET, bytes(16))
    with pytest.raises(KeyMissing):
        own_device.together(lambda desk: [desk.mac(key, b"x") for key in (secret, unknown)])
    assert own_device.together(lambda desk: desk.mac(secret, b"x")) == own_device.mac(secret, b"x")
    assert own_device.snapshot().in_use == 0


_SESSION_LOST = """
from hsm.device import Device
device = Device.open(URI)
device.create_house_key("binding")
key, tries = device.house_key("binding"), []
expected = device.mac(key, b"b")

def work(desk):
    tries.append(1)
    return [desk.mac(key, each) for each in (b"a", b"b")]

device.mac(key, b"")
shim.order("C_SignInit", answer=0xB3, times=1, skip=1)
print(device.together(work)[1] == expected, len(tries), device.snapshot().reinitialisations)
"""


def test_a_session_that_breaks_in_a_turn_begins_the_work_anew(misbehaving_program: Callable[[str], Program]):
    assert misbehaving_program(_SESSION_LOST).lines() == ["True 2 0"]
