"""The seven findings that shaped this layer: what modules and python-pkcs11 do, and that our layer does not.

docs/explanation/device.md tells each of them. Whoever simplifies the layer meets them again here.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest
from pkcs11 import Attribute, Mechanism
from pkcs11.exceptions import GeneralError, KeyUnextractable

from hsm import conformance, templates, wrapping
from hsm.device import Device
from hsm.errors import DeviceRefused
from hsm.faults import Fault, classify
from hsm.handles import find_one
from hsm.keys import KeyKind, KeyRef
from tests.hsm.programs import Program
from tests.hsm.reopening import reopen

Run = Callable[[str], Program]

SIGN_PLAINLY = """
token = pkcs11.lib(MODULE).get_token(token_label=LABEL)
session = token.open(rw=True, user_pin=PIN)
plain_key(session, "k")

def work(_):
    own = token.open()
    key = own.get_key(label="k")
    end = time.monotonic() + 8
    while time.monotonic() < end:
        key.sign(b"data", mechanism=Mechanism.SHA256_HMAC)

in_threads(4, work)
"""

SIGN_WITH_DEVICE = """
device = Device.open(URI)
device.create_house_key("binding")
key = device.house_key("binding")
expected = device.mac(key, b"data")

def work(_):
    end = time.monotonic() + 2
    while time.monotonic() < end:
        assert device.mac(key, b"data") == expected
    done.append(1)

in_threads(8, work)
print(len(done))
"""


def test_finding_1_threads_that_sign_do_not_crash_the_process(program: Run):
    assert program(SIGN_WITH_DEVICE).lines() == ["8"]


@pytest.mark.long
def test_finding_1_plain_python_pkcs11_crashes_when_threads_sign(program: Run):
    assert any(program(SIGN_PLAINLY).crashed for _ in range(3))


ENROL_WITH_DEVICE = """
device = Device.open(URI, wait_seconds=30)
kek = secrets.token_bytes(32)

def work(_):
    end = time.monotonic() + 3
    while time.monotonic() < end:
        id = secrets.token_bytes(16)
        device.issue(kek, [id], "countersign-user-khmac")
        device.mac(KeyRef(KeyKind.SECRET, id), b"data")
        assert device.destroy(KeyRef(KeyKind.SECRET, id))
    done.append(1)

in_threads(4, work)
print(len(done), len(device.user_keys()))
"""


# Without the lock this fails on some machines and not on others (SoftHSM issue 573): only our side is a test.
def test_finding_2_threads_that_create_and_find_neither_fail_nor_leave_objects(program: Run):
    assert program(ENROL_WITH_DEVICE).lines() == ["4 0"]


SEARCH_PLAINLY_FOR_A_SURROGATE = """
session = pkcs11.lib(MODULE).get_token(token_label=LABEL).open(user_pin=PIN)
for _ in range(200):
    try:
        session.get_key(label=chr(0xD800))
    except UnicodeEncodeError:
        pass
"""


def test_finding_3_a_value_that_cannot_be_packed_is_refused_before_it_reaches_the_library(device: Device):
    kek = secrets.token_bytes(32)
    with pytest.raises(DeviceRefused):
        device.issue(kek, [secrets.token_bytes(16)], "countersign-user-\ud800")
    with pytest.raises(DeviceRefused):
        device.issue(kek, ["sixteen letters!"], "countersign-user-khmac")  # type: ignore[list-item]
    with pytest.raises(DeviceRefused):
        templates.packed({Attribute.WRAP_TEMPLATE: {}})
    with pytest.raises(DeviceRefused):
        templates.packed({Attribute.VALUE_LEN: -1})


def test_finding_3_plain_python_pkcs11_crashes_on_a_value_that_cannot_be_packed(program: Run):
    assert program(SEARCH_PLAINLY_FOR_A_SURROGATE).crashed


ALIAS_PLAINLY = """
library = pkcs11.lib(MODULE)
token = library.get_token(token_label=LABEL)
session = token.open(rw=True, user_pin=PIN)
plain_key(session, "alice"), plain_key(session, "bob")
session.close()
library.reinitialize()

def mac(key):
    return key.sign(b"data", mechanism=Mechanism.SHA256_HMAC)

session = token.open(user_pin=PIN)
alice = session.get_key(label="alice")
macs = {"alice": mac(alice), "bob": mac(session.get_key(label="bob"))}
library.reinitialize()
later = token.open(user_pin=PIN)
later.get_key(label="bob")
print(mac(alice) == macs["bob"])
"""


def test_finding_4_after_reinitialisation_no_key_computes_with_anothers_handle(own_device: Device):
    alice, bob = (KeyRef(KeyKind.SECRET, secrets.token_bytes(16)) for _ in range(2))
    own_device.issue(secrets.token_bytes(32), [alice.id, bob.id], "countersign-user-khmac")
    macs = own_device.mac(alice, b"data"), own_device.mac(bob, b"data")
    reopen(own_device)
    assert own_device.mac(bob, b"data") == macs[1]  # the first handle now is bob's
    assert own_device.mac(alice, b"data") == macs[0]


def test_finding_4_an_old_key_object_of_plain_python_pkcs11_computes_with_anothers_key(program: Run):
    assert program(ALIAS_PLAINLY).lines() == ["True"]


CLOSE_PLAINLY = """
token = pkcs11.lib(MODULE).get_token(token_label=LABEL)
first, second = token.open(rw=True, user_pin=PIN), token.open()
plain_key(first, "k")
second.get_key(label="k")
first.close()
try:
    second.get_key(label="k")
except pkcs11.NoSuchKey:
    print("logged out")
"""


def test_finding_5_closing_a_session_of_the_pool_logs_nobody_out(own_device: Device):
    key = own_device.house_key("binding")
    expected = own_device.mac(key, b"data")
    connection = own_device._guard._connection
    with own_device._guard.module.lock.exclusive(5):
        connection.pool.close()
    assert connection.is_alive()
    assert own_device.mac(key, b"data") == expected


def test_finding_5_closing_a_session_that_was_opened_with_the_pin_hides_all_keys(program: Run):
    assert program(CLOSE_PLAINLY).lines() == ["logged out"]


def test_finding_6_whether_a_kept_key_is_sealed_is_tried_out_and_not_believed(own_device: Device):
    def check(_: object, session: object) -> str | None:
        probe = KeyRef(KeyKind.SECRET, secrets.token_bytes(16))
        template = templates.hmac_key(
            probe.id, conformance.LABEL, stored=True, extractable=True, modifiable=True
        )
        key = wrapping.generate(session, template)
        trial = conformance.by_aes()
        assert isinstance(trial.cover, bytes)
        wrapped = wrapping.wrap(wrapping.import_kek(session, trial.cover), key)
        verdict = conformance._judge(session, probe, trial, wrapped)
        key.destroy()
        return verdict

    assert own_device._guard.change(check) == "the kept key can still be wrapped"


@pytest.mark.parametrize("strategy", wrapping.Strategy)
def test_finding_6_each_way_of_delivery_leaves_a_key_that_refuses_to_be_wrapped(
    own_device: Device, strategy: wrapping.Strategy
):
    ref = KeyRef(KeyKind.SECRET, secrets.token_bytes(16))

    def check(_: object, session: object) -> None:
        undo = wrapping.undo_in(session, lambda: True)
        wrapping.issue(session, secrets.token_bytes(32), [ref.id], "countersign-user-khmac", strategy, undo)
        kek = wrapping.import_kek(session, secrets.token_bytes(32))
        with pytest.raises(KeyUnextractable):
            kek.wrap_key(find_one(session, ref), mechanism=Mechanism.AES_KEY_WRAP)

    own_device._guard.change(check)


def test_finding_7_input_that_looks_like_a_broken_device_repairs_nothing(own_device: Device):
    seen = []

    def unwrap_forgery(_: object, session: object) -> None:
        uses = (Attribute.WRAP, Attribute.UNWRAP)
        kek = wrapping.import_kek(session, secrets.token_bytes(32), uses)
        template = templates.hmac_key(
            secrets.token_bytes(16), "countersign-probe", stored=False, extractable=False, modifiable=False
        )
        try:
            kek.unwrap_key(
                templates.CLASS_OF[KeyKind.SECRET],
                templates.KeyType.GENERIC_SECRET,
                secrets.token_bytes(40),
                mechanism=Mechanism.AES_KEY_WRAP,
                capabilities=0,
                template=template,
            )
        except GeneralError as exc:
            seen.append(classify(exc))
            raise

    before = own_device._guard._connection
    with pytest.raises(DeviceRefused, match="the device is well"):
        own_device._guard.change(unwrap_forgery)
    assert seen == [Fault.AMBIGUOUS]
    assert own_device._guard._connection is before
