"""Do signatures verify on the token exactly when they verify elsewhere?"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hsm.device import Device
from hsm.ecdsa import _ORDER as N
from hsm.errors import DeviceRefused
from hsm.keys import KeyKind, KeyRef

P = 2**256 - 2**224 + 2**192 + 2**96 - 1
PREHASHED = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
LABEL = "countersign-user-kpublic"

# C2SP/wycheproof, testvectors_v1/ecdsa_secp256r1_sha256_p1363_test.json (Apache-2.0): case, point, r||s,
# whether it is valid. The message of all of them is "123400".
WYCHEPROOF = [
    (
        1,  # signature malleability: s and n - s are both valid
        (
            "042927b10512bae3eddcfe467828128bad2903269919f7086069c8c4df6c732838"
            "c7787964eaac00e5921fb1498a60f4606766b3d9685001558d1a974e7341513e"
        ),
        (
            "2ba3a8be6b94d5ec80a6d9d1190a436effe50d85a1eee859b8cc6af9bd5c2e18"
            "4cd60b855d442f5b3c7b11eb6c4e0ae7525fe710fab9aa7c77a67f79e6fadd76"
        ),
        True,
    ),
    (
        4,  # r replaced by n - r
        (
            "042927b10512bae3eddcfe467828128bad2903269919f7086069c8c4df6c732838"
            "c7787964eaac00e5921fb1498a60f4606766b3d9685001558d1a974e7341513e"
        ),
        (
            "d45c5740946b2a147f59262ee6f5bc90bd01ed280528b62b3aed5fc93f06f739"
            "b329f479a2bbd0a5c384ee1493b1f5186a87139cac5df4087c134b49156847db"
        ),
        False,
    ),
    (
        128,  # small r and s
        (
            "042ef747671c97d9c7f9cb2f6a30d678c3d84757ba241ef7183d51a29f52d87c2e"
            "a8fb2ea635b761baefc1c4ded2099281b844e13e044c328553bbbafa337d8a76"
        ),
        f"{6:064x}{1:064x}",
        True,
    ),
    (
        129,  # the same in two bytes
        (
            "042ef747671c97d9c7f9cb2f6a30d678c3d84757ba241ef7183d51a29f52d87c2e"
            "a8fb2ea635b761baefc1c4ded2099281b844e13e044c328553bbbafa337d8a76"
        ),
        "0601",
        False,
    ),
    (
        134,
        (
            "04d03eb09913cc20c6a8d0070f0d8d2a7f63527fafa44117fce6bd1ef2aa4ae3c4"
            "6d5df3f45ac58fa334c6d102381b3120b7a2455600dcaff3d1a845514f12bf46"
        ),
        f"{6:064x}{7:064x}",
        True,
    ),
    (
        136,  # r is larger than n
        (
            "04d03eb09913cc20c6a8d0070f0d8d2a7f63527fafa44117fce6bd1ef2aa4ae3c4"
            "6d5df3f45ac58fa334c6d102381b3120b7a2455600dcaff3d1a845514f12bf46"
        ),
        f"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632557{7:064x}",
        False,
    ),
    (
        138,  # small r and inverse of s
        (
            "04d0f73792203716afd4be4329faa48d269f15313ebbba379d7783c97bf3e890d9"
            "971f4a3206605bec21782bf5e275c714417e8f566549e6bc68690d2363c89cc1"
        ),
        f"{256:064x}8f1e3c7862c58b16bb76eddbb76eddbb516af4f63f2d74d76e0d28c9bb75ea88",
        True,
    ),
    (
        171,  # r = s, close to n / 2
        (
            "0468ec6e298eafe16539156ce57a14b04a7047c221bafc3a582eaeb0d857c4d946"
            "97bed1af17850117fdb39b2324f220a5698ed16c426a27335bb385ac8ca6fb30"
        ),
        "7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a9" * 2,
        True,
    ),
    (
        172,  # u1 = 1
        (
            "0469da0364734d2e530fece94019265fefb781a0f1b08f6c8897bdf6557927c8b8"
            "66d2d3c7dcd518b23d726960f069ad71a933d86ef8abbcce8b20f71e2a847002"
        ),
        (
            "555555550000000055555555555555553ef7a8e48d07df81a693439654210c70"
            "bb5a52f42f9c9261ed4361f59422a1e30036e7c32b270c8807a419feca605023"
        ),
        True,
    ),
    (
        175,  # u2 = n - 1
        (
            "04cf04ea77e9622523d894b93ff52dc3027b31959503b6fa3890e5e04263f922f1"
            "e8528fb7c006b3983c8b8400e57b4ed71740c2f3975438821199bedeaecab2e9"
        ),
        (
            "555555550000000055555555555555553ef7a8e48d07df81a693439654210c70"
            "aaaaaaaa00000000aaaaaaaaaaaaaaaa7def51c91a0fbf034d26872ca84218e1"
        ),
        True,
    ),
]


@pytest.fixture(scope="module")
def private_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def stored(device: Device, private_key: ec.EllipticCurvePrivateKey) -> Iterator[KeyRef]:
    ref = device.import_public(secrets.token_bytes(16), point_of(private_key.public_key()), LABEL)
    yield ref
    device.destroy(ref)


def point_of(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def raw(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def signed(key: ec.EllipticCurvePrivateKey, digest: bytes) -> tuple[int, int]:
    return utils.decode_dss_signature(key.sign(digest, PREHASHED))


@pytest.mark.parametrize("case", WYCHEPROOF, ids=lambda case: f"tc{case[0]}")
def test_the_verdict_is_that_of_wycheproof(device: Device, case: tuple[int, str, str, bool]):
    _, point, signature, valid = case
    ref = device.import_public(secrets.token_bytes(16), bytes.fromhex(point), LABEL)
    assert device.verify(ref, hashlib.sha256(b"123400").digest(), bytes.fromhex(signature)) is valid
    device.destroy(ref)


@pytest.mark.parametrize("digest", [bytes(32), b"\xff" * 32, b"\0" * 31 + b"\1", N.to_bytes(32, "big")])
def test_what_cryptography_signs_verifies(
    device: Device, stored: KeyRef, private_key: ec.EllipticCurvePrivateKey, digest: bytes
):
    r, s = signed(private_key, digest)
    assert device.verify(stored, digest, raw(r, s))
    assert device.verify(stored, digest, raw(r, N - s))
    assert not device.verify(stored, hashlib.sha256(digest).digest(), raw(r, s))


@pytest.mark.parametrize("r", [0, 1, N - 1, N, N + 1, P % 2**256, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, N - 1, N, N + 1, P % 2**256, 2**256 - 1])
def test_values_at_the_borders_are_false_and_never_an_error(device: Device, stored: KeyRef, r: int, s: int):
    assert device.verify(stored, hashlib.sha256(b"x").digest(), raw(r, s)) is False


@pytest.mark.parametrize("length", [0, 1, 32, 63, 65, 70, 128])
def test_a_signature_of_another_length_is_false(device: Device, stored: KeyRef, length: int):
    assert device.verify(stored, bytes(32), b"\1" * length) is False


def test_a_signature_in_der_is_false(device: Device, stored: KeyRef, private_key: ec.EllipticCurvePrivateKey):
    assert device.verify(stored, bytes(32), private_key.sign(bytes(32), PREHASHED)) is False


def test_what_the_token_signs_verifies_elsewhere(device: Device):
    private, public = device.house_pair("receipt")
    digest = hashlib.sha256(b"a receipt").digest()
    signature = device.sign(private, digest)
    outside = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), device.public_point(public))
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    outside.verify(utils.encode_dss_signature(r, s), digest, PREHASHED)
    with pytest.raises(InvalidSignature):
        outside.verify(utils.encode_dss_signature(r, s), bytes(32), PREHASHED)
    assert device.verify(public, digest, signature)


def test_the_point_comes_back_as_it_was_stored(
    device: Device, stored: KeyRef, private_key: ec.EllipticCurvePrivateKey
):
    assert device.public_point(stored) == point_of(private_key.public_key())


def test_no_point_is_stored_that_is_not_a_point_of_the_curve(device: Device):
    good = point_of(ec.generate_private_key(ec.SECP256R1()).public_key())
    off_curve = good[:-1] + bytes([good[-1] ^ 1])
    compressed = bytes([2 + (good[-1] & 1)]) + good[1:33]
    for point in (off_curve, compressed, b"", b"\0", b"\4" + bytes(64), good + b"\0", b"\x04\x41" + good):
        with pytest.raises(DeviceRefused):
            device.import_public(secrets.token_bytes(16), point, LABEL)


@pytest.mark.parametrize("length", [0, 20, 31, 33, 64])
def test_only_digests_of_32_bytes_are_signed_or_verified(device: Device, length: int):
    private, public = device.house_pair("receipt")
    with pytest.raises(DeviceRefused):
        device.sign(private, bytes(length))
    with pytest.raises(DeviceRefused):
        device.verify(public, bytes(length), bytes(64))


def test_a_key_is_used_only_for_what_its_kind_can_do(device: Device):
    private, public = device.house_pair("receipt")
    secret = device.house_key("binding")
    for key in (public, secret):
        with pytest.raises(DeviceRefused):
            device.sign(key, bytes(32))
    for key in (private, secret):
        with pytest.raises(DeviceRefused):
            device.verify(key, bytes(32), raw(1, 1))
        with pytest.raises(DeviceRefused):
            device.public_point(KeyRef(KeyKind.PRIVATE, key.id))


def test_a_pair_is_created_once(device: Device):
    assert device.create_house_pair("receipt") is False
