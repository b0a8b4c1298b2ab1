"""Keys that are not on the token: derived ones, and public ones that somebody else remembers."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pkcs11
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from pkcs11 import Attribute, Mechanism

from hsm import rawkey, wrapping
from hsm.connection import Connection
from hsm.desk import Desk
from hsm.device import Device
from hsm.errors import DeviceRefused
from hsm.keys import DerivedRef, PointRef
from hsm.limits import Limits
from tests.hsm.programs import Program
from tests.hsm.reopening import reopen

KEK = bytes(range(32))


@pytest.fixture
def small_device(token_uri: str) -> Iterator[Device]:
    """A device with a master that holds at most eight keys at a time."""
    opened = Device.open(
        token_uri, limits=Limits(sessions=16, most_waiting=64, wait_seconds=30, most_fleeting=8)
    )
    opened.create_master()
    yield opened
    opened.close()


def some_key() -> DerivedRef:
    return DerivedRef(1, secrets.token_bytes(32))


def handle_of(device: Device, key: DerivedRef | PointRef) -> int:
    handle = device._guard.use(lambda connection, _: connection.fleeting.held(key))
    assert handle is not None
    return handle


def held_objects(device: Device) -> int:
    """How many session objects there are, as the token itself says."""

    def count(_: Connection, session: pkcs11.Session) -> int:
        found = [
            each
            for label in ("countersign-derived", "countersign-point")
            for each in session.get_objects({Attribute.LABEL: label, Attribute.TOKEN: False})
        ]
        return len(found)

    return device._guard.change(count)


def delivered(device: Device, *keys: DerivedRef) -> list[bytes]:
    """The values of keys, as a phone gets them."""
    return [aes_key_unwrap(KEK, each) for each in device.issue_derived(KEK, keys)]


def signed_point() -> tuple[PointRef, bytes, bytes]:
    """A fresh public key, a digest, and the signature over it."""
    private = ec.generate_private_key(ec.SECP256R1())
    digest = secrets.token_bytes(32)
    r, s = decode_dss_signature(private.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
    point = private.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    return PointRef(point), digest, r.to_bytes(32, "big") + s.to_bytes(32, "big")


def test_a_derived_key_computes_what_the_phone_computes_with_its_copy(small_device: Device):
    key = some_key()
    (value,) = delivered(small_device, key)
    assert len(value) == 32
    assert small_device.mac(key, b"data") == hmac.digest(value, b"data", hashlib.sha256)


def test_a_derived_key_is_the_same_after_a_reopening_and_in_another_process(
    small_device: Device, program: Callable[[str], Program]
):
    key = some_key()
    expected = small_device.mac(key, b"data")
    reopen(small_device)
    assert small_device.mac(key, b"data") == expected
    other = program(f"""
from hsm.device import Device
from hsm.keys import DerivedRef
device = Device.open(URI)
print(device.mac(DerivedRef(1, bytes.fromhex("{key.context.hex()}")), b"data").hex())
device.close()
""")
    assert other.output.strip() == expected.hex()


def test_every_context_and_every_master_gives_another_key(small_device: Device):
    small_device.create_master(2)
    context = secrets.token_bytes(32)
    near = [bytes([context[0] ^ 1]) + context[1:], context[:-1] + bytes([context[-1] ^ 1])]
    swapped = context[16:] + context[:16]
    keys = [DerivedRef(1, each) for each in (context, *near, swapped)] + [DerivedRef(2, context)]
    assert len({small_device.mac(each, b"x") for each in keys}) == len(keys)


def test_a_held_key_is_a_sensitive_session_object_that_only_signs(small_device: Device):
    small_device.mac(some_key(), b"x")

    def attributes(_: Connection, session: pkcs11.Session) -> dict[Attribute, object]:
        (found,) = session.get_objects({Attribute.LABEL: "countersign-derived"})
        return dict(found.get_attributes(list(expected)))

    expected = {
        Attribute.TOKEN: False,
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.MODIFIABLE: False,
        Attribute.SIGN: True,
        **dict.fromkeys((Attribute.VERIFY, Attribute.ENCRYPT, Attribute.DECRYPT), False),
        **dict.fromkeys((Attribute.WRAP, Attribute.UNWRAP, Attribute.DERIVE), False),
        Attribute.ALLOWED_MECHANISMS: [Mechanism.SHA256_HMAC],
    }
    assert small_device._guard.use(attributes) == expected


def test_a_held_key_refuses_to_be_wrapped_also_after_a_delivery(small_device: Device):
    key = some_key()
    delivered(small_device, key)
    small_device.mac(key, b"x")
    handle = handle_of(small_device, key)

    def wrap(_: Connection, session: pkcs11.Session) -> bytes:
        return wrapping.wrap(wrapping.import_kek(session, KEK), rawkey.secret(session, handle))

    with pytest.raises(DeviceRefused, match="KeyUnextractable"):
        small_device._guard.change(wrap)


def test_a_delivery_leaves_nothing_behind(small_device: Device):
    delivered(small_device, some_key(), some_key())
    assert held_objects(small_device) == 0
    assert small_device.user_keys() == []


def test_no_more_keys_are_held_than_allowed_and_the_longest_unused_goes_first(small_device: Device):
    keys = [some_key() for _ in range(8)]
    macs = [small_device.mac(key, b"x") for key in keys]
    small_device.mac(keys[0], b"x")
    small_device.mac(some_key(), b"x")
    figures = small_device.snapshot().fleeting
    assert (figures.size, figures.most, figures.made, figures.evictions) == (8, 8, 9, 1)
    assert (figures.hits, figures.misses) == (1, 9)
    assert held_objects(small_device) == 8
    assert small_device._guard.use(lambda c, _: [c.fleeting.held(k) is None for k in keys]) == [
        False,
        True,
        *[False] * 6,
    ]
    assert [small_device.mac(key, b"x") for key in keys] == macs


def test_a_forgotten_key_is_destroyed_by_the_next_that_is_made(small_device: Device):
    key = some_key()
    expected = small_device.mac(key, b"x")
    small_device.forget([key, some_key()])
    assert small_device.snapshot().fleeting.size == 0
    small_device.mac(some_key(), b"x")
    assert held_objects(small_device) == 1
    assert small_device.mac(key, b"x") == expected


def test_sixteen_threads_that_miss_the_same_key_make_it_once(small_device: Device):
    key = some_key()
    together = threading.Barrier(16)

    def compute(_: int) -> bytes:
        together.wait(30)
        return small_device.mac(key, b"x")

    with ThreadPoolExecutor(16) as threads:
        assert len(set(threads.map(compute, range(16)))) == 1
    figures = small_device.snapshot().fleeting
    assert (figures.made, figures.evictions, figures.size) == (1, 0, 1)
    assert held_objects(small_device) == 1


def test_sixteen_threads_that_push_each_others_keys_out_get_no_wrong_answer(small_device: Device):
    keys = [some_key() for _ in range(24)]
    points = [signed_point() for _ in range(8)]
    expected = {
        key: hmac.digest(value, b"x", hashlib.sha256)
        for key, value in zip(keys, delivered(small_device, *keys), strict=True)
    }

    def work(thread: int) -> list[str]:
        wrong = []
        for turn in range(60):
            key = keys[(thread * 7 + turn * 5) % len(keys)]
            if small_device.mac(key, b"x") != expected[key]:
                wrong.append("mac")
            point, digest, signature = points[(thread + turn) % len(points)]
            if not small_device.verify(point, digest, signature):
                wrong.append("signature")
            if small_device.verify(point, secrets.token_bytes(32), signature):
                wrong.append("forged signature")
        return wrong

    with ThreadPoolExecutor(16) as threads:
        assert [each for found in threads.map(work, range(16)) for each in found] == []
    figures = small_device.snapshot().fleeting
    assert figures.evictions > 100
    assert figures.size == held_objects(small_device) == 8


def test_after_a_recovery_no_key_is_held_and_all_compute_the_same(small_device: Device):
    keys = [some_key() for _ in range(4)]
    macs = [small_device.mac(key, b"x") for key in keys]
    made = small_device.snapshot().fleeting.made
    reopen(small_device)
    assert small_device.snapshot().fleeting.size == 0
    assert [small_device.mac(key, b"x") for key in keys] == macs
    assert small_device.snapshot().fleeting.made == made + 4


def test_a_key_that_the_device_lost_while_the_session_lives_is_made_again(small_device: Device):
    key = some_key()
    expected = small_device.mac(key, b"x")
    handle = handle_of(small_device, key)
    small_device._guard.change(
        lambda connection, _: connection.module.direct.destroy(int(connection.login_session.handle), handle)
    )
    assert small_device.mac(key, b"x") == expected
    assert held_objects(small_device) == 1


def test_one_turn_for_many_operations_makes_the_keys_it_lacks(small_device: Device):
    keys = [some_key() for _ in range(3)]
    point, digest, signature = signed_point()

    def work(desk: Desk) -> tuple[list[bytes], bool]:
        return [desk.mac(key, b"x") for key in keys], desk.verify(point, digest, signature)

    macs, verified = small_device.together(work)
    assert verified
    assert macs == [small_device.mac(key, b"x") for key in keys]
    assert small_device.together(work) == (macs, True)
    assert small_device.snapshot().fleeting.made == 4
    assert small_device.snapshot().operations["turn", "again"] == 1


def test_keys_that_are_named_beforehand_are_made_in_one_turn_and_a_bad_one_spoils_no_other(
    small_device: Device,
):
    keys = [some_key() for _ in range(3)]
    bad = [PointRef(b"\x04" + bytes([1]) * 64), DerivedRef(9, bytes(32))]

    def work(desk: Desk) -> list[bytes]:
        return [desk.mac(key, b"x") for key in keys]

    macs = small_device.together(work, [keys[0], *bad, *keys])
    operations = small_device.snapshot().operations
    assert (operations["make", "ok"], operations["turn", "ok"]) == (1, 1)
    assert ("turn", "again") not in operations
    assert (small_device.snapshot().fleeting.made, small_device.snapshot().fleeting.misses) == (3, 5)
    assert small_device.together(work, keys) == macs
    assert small_device.snapshot().operations["make", "ok"] == 1


def test_a_public_key_verifies_without_being_on_the_token(small_device: Device):
    point, digest, signature = signed_point()
    assert small_device.verify(point, digest, signature)
    assert not small_device.verify(signed_point()[0], digest, signature)
    assert not small_device.verify(point, digest, signature[:-1])
    assert small_device.user_keys() == []


def test_a_point_that_is_not_on_the_curve_is_refused(small_device: Device):
    with pytest.raises(DeviceRefused, match="not on P-256"):
        small_device.verify(PointRef(b"\x04" + bytes([1]) * 64), bytes(32), bytes([1]) * 64)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_context_has_32_bytes(length: int):
    with pytest.raises(DeviceRefused):
        DerivedRef(1, bytes(length))
