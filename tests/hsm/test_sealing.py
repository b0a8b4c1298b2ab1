"""Are keys wrapped to an RSA key of whoever gets them, and never again?"""

from __future__ import annotations

import hashlib
import hmac
import secrets

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from hsm.device import Device
from hsm.errors import DeviceRefused
from hsm.keys import KeyKind, KeyRef
from hsm.rsawrap import HASHES, RsaCover

LABEL = "countersign-user-khmac"
_OF = {"SHA-1": hashes.SHA1, "SHA-256": hashes.SHA256, "SHA-384": hashes.SHA384, "SHA-512": hashes.SHA512}


@pytest.fixture(scope="module")
def phone() -> rsa.RSAPrivateKey:
    """The key of a phone."""
    return rsa.generate_private_key(65537, 3072)


def _cover(phone: rsa.RSAPrivateKey, name: str) -> RsaCover:
    numbers = phone.public_key().public_numbers()
    return RsaCover(numbers.n, numbers.e, name)


def _usable(device: Device, phone: rsa.RSAPrivateKey) -> frozenset[str]:
    numbers = phone.public_key().public_numbers()
    return device.usable_hashes(numbers.n, numbers.e)


def test_what_a_phone_opens_is_the_key_that_stays_on_the_token(own_device: Device, phone: rsa.RSAPrivateKey):
    usable = _usable(own_device, phone)
    assert usable
    assert usable <= HASHES.keys()
    for name in usable:
        refs = [KeyRef(KeyKind.SECRET, secrets.token_bytes(16)) for _ in range(2)]
        wrapped = own_device.issue(_cover(phone, name), [ref.id for ref in refs], LABEL)
        oaep = padding.OAEP(padding.MGF1(_OF[name]()), _OF[name](), None)
        for ref, block in zip(refs, wrapped, strict=True):
            value = phone.decrypt(block, oaep)
            assert len(value) == 32
            assert own_device.mac(ref, b"x") == hmac.new(value, b"x", hashlib.sha256).digest()


def test_a_hash_the_module_does_not_know_is_refused_and_leaves_no_key(
    own_device: Device, phone: rsa.RSAPrivateKey
):
    before = own_device.user_keys()
    for name in HASHES.keys() - _usable(own_device, phone):
        with pytest.raises(DeviceRefused):
            own_device.issue(_cover(phone, name), [secrets.token_bytes(16)], LABEL)
    assert own_device.user_keys() == before


def test_looking_for_hashes_leaves_nothing_on_the_token(own_device: Device, phone: rsa.RSAPrivateKey):
    before = own_device.warm()
    assert _usable(own_device, phone) == _usable(own_device, phone)
    assert own_device.warm() == before
