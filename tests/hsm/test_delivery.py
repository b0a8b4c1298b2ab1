"""Does a key leave the token exactly once, and is nothing left when that fails?"""

from __future__ import annotations

import ctypes
import hashlib
import hmac
import secrets
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from pkcs11 import Attribute, KeyType, Mechanism
from pkcs11.exceptions import AttributeReadOnly, GeneralError, PKCS11Error

from hsm import conformance, templates, wrapping
from hsm.cryptoki import DirectCalls, _Attribute
from hsm.device import Device, _undo_of
from hsm.errors import DeliveryUnsafe, DeviceRefused
from hsm.handles import find_one
from hsm.keys import KeyKind, KeyRef
from hsm.wrapping import Strategy
from tests.hsm.programs import Program
from tests.hsm.reopening import reopen

LABEL = "countersign-user-khmac"


def new_ids(number: int) -> list[bytes]:
    return [secrets.token_bytes(16) for _ in range(number)]


def issue_by(device: Device, strategy: Strategy, kek: bytes, ids: list[bytes]) -> list[bytes]:
    return device._guard.change(
        lambda connection, session: wrapping.issue(session, kek, ids, LABEL, strategy, _undo_of(connection))
    )


@pytest.mark.parametrize("strategy", Strategy)
def test_the_delivered_key_and_the_kept_key_are_one(own_device: Device, strategy: Strategy):
    kek, ids = secrets.token_bytes(32), new_ids(2)
    wrapped = issue_by(own_device, strategy, kek, ids)
    values = [aes_key_unwrap(kek, each) for each in wrapped]
    assert len({*values}) == 2
    for key_id, value in zip(ids, values, strict=True):
        assert len(value) == 32
        expected = hmac.digest(value, b"data", hashlib.sha256)
        assert own_device.mac(KeyRef(KeyKind.SECRET, key_id), b"data") == expected


@pytest.mark.parametrize("strategy", Strategy)
def test_the_kept_key_cannot_be_unsealed(own_device: Device, strategy: Strategy):
    (key_id,) = ids = new_ids(1)
    issue_by(own_device, strategy, secrets.token_bytes(32), ids)

    def attack(_: object, session: object) -> dict[Attribute, object]:
        key = find_one(session, KeyRef(KeyKind.SECRET, key_id))
        for attribute, value in ((Attribute.EXTRACTABLE, True), (Attribute.SENSITIVE, False)):
            with pytest.raises(PKCS11Error):
                key[attribute] = value
        with pytest.raises(PKCS11Error):
            key[Attribute.VALUE]
        with pytest.raises(PKCS11Error):
            key.copy({Attribute.EXTRACTABLE: True})
        return dict(key.get_attributes([Attribute.EXTRACTABLE, Attribute.SENSITIVE, Attribute.TOKEN]))

    assert list(own_device._guard.change(attack).values()) == [False, True, True]


@pytest.mark.parametrize("strategy", [Strategy.COPY_DOWN, Strategy.UNWRAP_AGAIN])
def test_no_use_can_be_added_to_the_kept_key(own_device: Device, strategy: Strategy):
    (key_id,) = ids = new_ids(1)
    issue_by(own_device, strategy, secrets.token_bytes(32), ids)

    def attack(_: object, session: object) -> None:
        key = find_one(session, KeyRef(KeyKind.SECRET, key_id))
        for use in (Attribute.DERIVE, Attribute.WRAP, Attribute.ENCRYPT):
            with pytest.raises((AttributeReadOnly, PKCS11Error)):
                key[use] = True

    own_device._guard.change(attack)


def test_the_first_way_of_the_chain_that_works_is_chosen(own_device: Device):
    assert own_device.strategy is Strategy.COPY_DOWN
    for way in Strategy:
        assert own_device._guard.change(lambda _, s, way=way: conformance.choose_strategy(s, (way,))) is way


def test_a_module_on_which_no_way_works_is_refused_with_the_reasons(own_device: Device):
    with pytest.raises(DeliveryUnsafe, match="Use a module"):
        own_device._guard.change(lambda _, session: conformance.choose_strategy(session, ()))


def test_the_start_leaves_no_throw_away_key(own_device: Device):
    reopen(own_device)
    labels = [label for _, label in own_device._sweep()]
    assert labels == ["countersign-binding-1"]


def test_a_throw_away_key_of_a_killed_start_is_removed_later(own_device: Device):
    old = (0).to_bytes(8, "big") + secrets.token_bytes(8)
    template = templates.hmac_key(old, conformance.LABEL, stored=True, extractable=False, modifiable=False)
    own_device._guard.change(lambda _, session: wrapping.generate(session, template))
    own_device._guard.change(lambda _, session: conformance.choose_strategy(session))
    assert KeyRef(KeyKind.SECRET, old) not in [ref for ref, _ in own_device._sweep()]


def test_the_wrapping_is_that_of_rfc_3394(own_device: Device):
    # RFC 3394, section 4.6: 256 bits of key data with a 256-bit KEK.
    kek = bytes(range(32))
    data = bytes.fromhex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f")
    expected = "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"

    def wrap(_: object, session: object) -> bytes:
        template = templates.known_secret(secrets.token_bytes(16), data) | {Attribute.EXTRACTABLE: True}
        key = session.create_object(templates.packed(template))
        return wrapping.wrap(wrapping.import_kek(session, kek), key)

    assert own_device._guard.change(wrap).hex() == expected


def test_the_wrapping_key_does_not_outlive_the_delivery(own_device: Device):
    own_device.issue(secrets.token_bytes(32), new_ids(2), LABEL)
    search = {Attribute.KEY_TYPE: KeyType.AES}
    assert own_device._guard.use(lambda _, session: list(session.get_objects(search))) == []


@pytest.mark.parametrize(
    ("kek", "ids", "label"),
    [
        (bytes(16), [bytes(16)], LABEL),
        (bytes(33), [bytes(16)], LABEL),
        (bytes(32), [], LABEL),
        (bytes(32), [bytes(15)], LABEL),
        (bytes(32), [b""], LABEL),
        (bytes(32), [bytes(16), bytes(16)], LABEL),
        (bytes(32), [bytes(16)], ""),
        (bytes(32), [bytes(16)], "Countersign"),
        (bytes(32), [bytes(16)], "a" * 65),
        (bytes(32), [bytes(16)], "user_1"),
        (bytes(32), [bytes(16)], "zoë"),
    ],
)
def test_malformed_orders_are_refused_and_leave_nothing(
    device: Device, kek: bytes, ids: list[bytes], label: str
):
    before = device.user_keys()
    with pytest.raises(DeviceRefused):
        device.issue(kek, ids, label)
    assert device.user_keys() == before


FULL_DISK = """
import collections.abc, resource
from hsm.errors import DeviceError

class UntilTheDiskIsFull(collections.abc.Sequence):
    "Ids; when the second key is made, no file of this process can grow any more."
    def __init__(self, ids): self.ids, self.passes = ids, 0
    def __len__(self): return len(self.ids)
    def __getitem__(self, index): return self.ids[index]
    def __iter__(self):
        self.passes += 1
        for number, each in enumerate(self.ids):
            if number == 1 and self.passes >= 3:
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            yield each

device = Device.open(URI)
ids = UntilTheDiskIsFull([secrets.token_bytes(16) for _ in range(3)])
try:
    device.issue(secrets.token_bytes(32), ids, "countersign-user-khmac")
except DeviceError as exc:
    failed = type(exc).__name__
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(failed, ids.passes >= 3, len(device.user_keys()))
device.close()
print(len(Device.open(URI).user_keys()))
"""


def test_a_delivery_that_fails_half_way_leaves_no_key_behind(program: Callable[[str], Program]):
    first, second = program(FULL_DISK).lines()
    failed, reached, left = first.split()
    assert (reached, left, second) == ("True", "0", "0")
    assert failed in ("DeviceRefused", "DeviceUnavailable")


def test_the_kept_key_may_only_compute_hmac_sha256(own_device: Device):
    (key_id,) = ids = new_ids(1)
    own_device.issue(secrets.token_bytes(32), ids, LABEL)
    key = own_device._guard.use(lambda _, session: find_one(session, KeyRef(KeyKind.SECRET, key_id)))
    assert key[Attribute.ALLOWED_MECHANISMS] == [Mechanism.SHA256_HMAC]


CALLS = """
device = Device.open(URI)
before = shim.calls()
ids = [secrets.token_bytes(16) for _ in range(2)]
device.issue(secrets.token_bytes(32), ids, "countersign-user-hmac")
print(shim.calls() - before, len(device.user_keys()))
for each in device.user_keys(): device.destroy(each)
"""


def test_a_delivery_is_one_call_for_each_step(misbehaving_program: Callable[[str], Program]):
    (told,) = misbehaving_program(CALLS).lines()
    # The cover; for each key generating, wrapping, copying, looking at the copy; three session objects to destroy.
    assert told == "12 2"


def _answering(value: bytes) -> DirectCalls:
    """The calls of a module that says of every attribute this, or nothing."""

    @ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong)
    def read(_session: int, _handle: int, address: int, count: int) -> int:
        for each in (_Attribute * count).from_address(address):
            ctypes.memmove(each.value, value, len(value))
        return 0

    functions = (ctypes.c_void_p * 68)()
    functions[24] = ctypes.cast(read, ctypes.c_void_p).value
    calls = DirectCalls(functions)
    calls.kept = read  # type: ignore[attr-defined]  # C must not call what is gone
    return calls


def test_what_is_neither_true_nor_false_does_not_pass_for_false():
    assert _answering(b"\x00").flags(1, 2, [3]) == [False]
    assert _answering(b"\x01").flags(1, 2, [3]) == [True]
    for value in (b"", b"\x02", b"\xff"):
        with pytest.raises(GeneralError):
            _answering(value).flags(1, 2, [3])
