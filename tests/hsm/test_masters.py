"""The master from which keys are derived: what nobody can do with it, the PIN or not."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from typing import Any

import pkcs11
import pytest
from pkcs11 import Attribute, Mechanism

from hsm import rawkey, templates, wrapping
from hsm.connection import Connection
from hsm.device import Device
from hsm.errors import DeviceRefused, HouseKeyMissing, KeyMissing
from hsm.handles import find_by_label, find_one
from hsm.keys import DerivedRef, KeyKind

KEK = bytes(range(32))


@pytest.fixture
def device_with_master(token_uri: str) -> Iterator[Device]:
    """A device with a master."""
    opened = Device.open(token_uri, sessions=4, wait_seconds=30)
    opened.create_master()
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "change", [{Attribute.ENCRYPT: True}, {Attribute.WRAP: True}, {Attribute.SIGN: True}]
)
def test_nobody_with_the_pin_gives_the_master_another_use(
    device_with_master: Device, change: templates.Template
):
    def attempt(_: Connection, session: pkcs11.Session) -> None:
        (ref,) = find_by_label(session, KeyKind.SECRET, "countersign-master-1")
        for attribute, value in change.items():
            find_one(session, ref)[attribute] = value

    with pytest.raises(DeviceRefused):
        device_with_master._guard.change(attempt)


def test_nobody_with_the_pin_copies_encrypts_or_wraps_the_master(device_with_master: Device):
    def master(session: pkcs11.Session) -> Any:
        (ref,) = find_by_label(session, KeyKind.SECRET, "countersign-master-1")
        return find_one(session, ref)

    def encrypt(_: Connection, session: pkcs11.Session) -> None:
        class Encrypting(rawkey._Raw, rawkey._p.SecretKey, rawkey._p.EncryptMixin, rawkey._p.Object): ...

        found = master(session)
        Encrypting(session, int(found.handle), pkcs11.KeyType.AES).encrypt(
            bytes(32), mechanism=Mechanism.AES_ECB
        )

    def copy(_: Connection, session: pkcs11.Session) -> None:
        master(session).copy({Attribute.MODIFIABLE: True})

    def wrap(_: Connection, session: pkcs11.Session) -> None:
        wrapping.wrap(wrapping.import_kek(session, KEK), master(session))

    for attempt in (encrypt, copy, wrap):
        with pytest.raises(DeviceRefused):
            device_with_master._guard.change(attempt)


def test_who_has_the_pin_and_the_context_can_derive_a_key_that_can_be_read(device_with_master: Device):
    """Nothing in PKCS#11 2.40 forbids it; docs/explanation/residency.md says what follows from it."""
    context = bytes(range(32))
    template = templates.derived_key(extractable=True) | {Attribute.SENSITIVE: False}

    def read(connection: Connection, session: pkcs11.Session) -> bytes:
        (ref,) = find_by_label(session, KeyKind.SECRET, "countersign-master-1")
        master = int(find_one(session, ref).handle)
        number = int(session.handle)
        mechanism = Mechanism.AES_ECB_ENCRYPT_DATA
        connection.module.direct.derive(number, master, mechanism, context, templates.raw(template))
        (copy,) = session.get_objects({Attribute.LABEL: "countersign-derived"})
        return bytes(copy[Attribute.VALUE])

    value = device_with_master._guard.change(read)
    expected = hmac.digest(value, b"x", hashlib.sha256)
    assert device_with_master.mac(DerivedRef(1, context), b"x") == expected


def test_a_master_that_is_not_there_is_missing_and_is_made_once(device_with_master: Device):
    with pytest.raises(KeyMissing, match="countersign-master-7"):
        device_with_master.mac(DerivedRef(7, bytes(32)), b"x")
    assert device_with_master.create_master() is False
    assert device_with_master.house_key("master")
    with pytest.raises(HouseKeyMissing):
        device_with_master.house_key("master", 7)
