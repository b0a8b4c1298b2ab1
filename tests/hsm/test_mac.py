"""Does the token compute HMAC-SHA-256 as the world does?"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pkcs11 import Attribute

from hsm import templates
from hsm.device import Device
from hsm.errors import DeviceRefused, HouseKeyMissing, KeyMissing
from hsm.keys import KeyKind, KeyRef
from hsm.wrapping import destroy_all

# RFC 4231, sections 4.2 to 4.8: key, data, HMAC-SHA-256 (test case 5 is truncated to 128 bits in the RFC).
RFC_4231 = [
    ("0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (
        b"Jefe".hex(),
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    ("aa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (
        bytes(range(1, 26)).hex(),
        b"\xcd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    ("0c" * 20, b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
    (
        "aa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        "aa" * 131,
        (
            b"This is a test using a larger than block-size key and a larger than block-size data. "
            b"The key needs to be hashed before being used by the HMAC algorithm."
        ),
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
]


@contextmanager
def imported(device: Device, value: bytes) -> Iterator[KeyRef]:
    """Store a secret with a known value for a while, which the device itself offers nobody to do."""
    ref = KeyRef(KeyKind.SECRET, secrets.token_bytes(16))
    template = templates.known_secret(ref.id, value) | {Attribute.TOKEN: True}
    device._guard.change(lambda _, session: session.create_object(templates.packed(template)))
    yield ref
    device._guard.change(lambda _, session: destroy_all(session, ref))


@pytest.mark.parametrize(("key", "data", "expected"), RFC_4231)
def test_the_vectors_of_rfc_4231_come_out(device: Device, key: str, data: bytes, expected: str):
    # HMAC fills short keys up with zero bytes; SoftHSM wants 32 at least.
    with imported(device, bytes.fromhex(key).ljust(32, b"\0")) as ref:
        assert device.mac(ref, data).hex().startswith(expected)


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 100_000])
def test_data_of_any_length_is_computed_as_python_does(device: Device, length: int):
    value, data = secrets.token_bytes(32), secrets.token_bytes(length)
    with imported(device, value) as ref:
        assert device.mac(ref, data) == hmac.digest(value, data, hashlib.sha256)


def test_house_keys_are_created_once_and_differ(own_device: Device):
    assert own_device.create_house_key("binding") is False
    assert own_device.create_house_key("binding", 2) is True
    first, second = own_device.house_key("binding"), own_device.house_key("binding", 2)
    assert own_device.mac(first, b"x") != own_device.mac(second, b"x")


def test_a_house_key_can_neither_leave_nor_change_nor_do_anything_but_mac(own_device: Device):
    ref = own_device.house_key("binding")
    wanted = [
        Attribute.EXTRACTABLE,
        Attribute.MODIFIABLE,
        Attribute.SENSITIVE,
        Attribute.DERIVE,
        Attribute.ENCRYPT,
    ]
    values = own_device._guard.use(
        lambda _, session: [
            found.get_attributes(wanted) for found in session.get_objects(templates.by_id(ref.kind, ref.id))
        ]
    )
    assert [list(each.values()) for each in values] == [[False, False, True, False, False]]


def test_a_missing_house_key_says_how_to_mend_it(own_device: Device):
    with pytest.raises(HouseKeyMissing, match="Create it"):
        own_device.house_key("webhook")


@pytest.mark.parametrize("name", ["", "Binding", "a-b", "x" * 33, "ä"])
def test_a_house_key_with_an_odd_name_is_refused(device: Device, name: str):
    with pytest.raises(DeviceRefused):
        device.house_key(name)


def test_a_key_that_is_not_there_is_missing_and_not_an_outage(device: Device):
    with pytest.raises(KeyMissing):
        device.mac(KeyRef(KeyKind.SECRET, secrets.token_bytes(16)), b"x")


def test_a_public_key_computes_no_mac(device: Device):
    with pytest.raises(DeviceRefused):
        device.mac(device.house_pair("receipt")[1], b"x")


def test_random_bytes_have_the_length_asked_for(device: Device):
    assert len(device.random(1)) == 1
    assert len({device.random(33) for _ in range(10)}) == 10
    with pytest.raises(DeviceRefused):
        device.random(0)
