"""Do codes, signatures, keys and texts agree with the published standards and with other libraries?"""

import base64
import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey

from gateway.wire import base45, base64s, code, rsakey, secret, signature, spki
from gateway.wire.errors import WireError
from gateway.wire.wrapping import OaepHash
from tests.vectors.writing import material, packages, rsa_wrapping
from tests.wire import values

RFC_4226_SECRET = b"12345678901234567890"
RFC_4226_CODES = [
    "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489",
]  # fmt: skip
RFC_4226_VALUES = [
    1284755224, 1094287082, 137359152, 1726969429, 1640338314,
    868254676, 1918287922, 82162583, 673399871, 645520489,
]  # fmt: skip
RFC_9285 = [(b"AB", "BB8"), (b"Hello!!", "%69 VD92EX0"), (b"base-45", "UJCLQE7W581"), (b"ietf!", "QED8WEX0")]
RFC_4648 = [
    (b"", ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"),
    (b"foob", "Zm9vYg=="), (b"fooba", "Zm9vYmE="), (b"foobar", "Zm9vYmFy"),
]  # fmt: skip
scalars = st.integers(1, signature.ORDER - 1)


@pytest.mark.parametrize("counter", range(10))
def test_truncation_is_that_of_rfc_4226_appendix_d(counter: int):
    mac = hmac.digest(RFC_4226_SECRET, counter.to_bytes(8, "big"), "sha1")
    assert code.dynamic_truncate(mac, 6) == RFC_4226_CODES[counter]
    for digits in (6, 7, 8):
        assert code.dynamic_truncate(mac, digits) == f"{RFC_4226_VALUES[counter]:010d}"[-digits:]


@values.fixed
@given(st.binary(min_size=32, max_size=32), st.integers(6, 10))
def test_a_short_code_has_exactly_so_many_digits(mac: bytes, digits: int):
    short = code.truncate(mac, digits)
    assert len(short) == digits
    assert code.check_short_code(short, digits) == short


def test_nine_and_ten_digits_use_63_bits_so_that_every_first_digit_occurs():
    first = {code.truncate(hashlib.sha256(bytes([n])).digest(), 10)[0] for n in range(200)}
    assert first == set("0123456789")


@pytest.mark.parametrize("digits", [-1, 0, 1, 5, 11, 32])
def test_other_numbers_of_digits_are_refused(digits: int):
    with pytest.raises(WireError):
        code.truncate(bytes(32), digits)


@pytest.mark.parametrize("text", ["", "1234567", "123456789", "1234567a", " 2345678", "١٢٣٤٥٦٧٨", "+2345678"])
def test_a_short_code_of_eight_is_eight_ascii_digits(text: str):
    with pytest.raises(WireError):
        code.check_short_code(text, 8)


@pytest.mark.parametrize(("data", "text"), RFC_9285)
def test_base45_is_that_of_rfc_9285(data: bytes, text: str):
    assert base45.encode(data) == text
    assert base45.decode(text) == data


@pytest.mark.parametrize(("data", "text"), RFC_4648)
def test_base64_is_that_of_rfc_4648(data: bytes, text: str):
    assert base64s.encode(data) == text
    assert base64s.decode(text) == data
    assert base64s.url_decode(text.rstrip("=")) == data


@values.fixed
@given(st.binary(max_size=40))
def test_every_alphabet_gives_the_bytes_back(data: bytes):
    assert base45.decode(base45.encode(data)) == data
    assert base64s.decode(base64s.encode(data)) == data
    assert base64s.url_decode(base64s.url_encode(data)) == data
    assert base64s.encode(data) == base64.b64encode(data).decode()


@values.fixed
@given(st.text(base45.ALPHABET, max_size=12))
def test_no_two_base45_texts_stand_for_the_same_bytes(text: str):
    try:
        data = base45.decode(text)
    except WireError:
        return
    assert base45.encode(data) == text


@pytest.mark.parametrize("first", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
def test_of_two_last_characters_only_the_one_without_stray_bits_is_read(first: str):
    good = 0
    for second in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/":
        try:
            base64s.decode(f"{first}{second}==")
            good += 1
        except WireError:
            pass
    assert good == 4


@values.fixed
@given(scalars, scalars)
def test_der_and_raw_signatures_are_one_to_one(r: int, s: int):
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    der = signature.der_from_raw(raw)
    assert signature.raw_from_der(der) == raw
    assert decode_dss_signature(der) == (r, s)


@values.fixed
@given(scalars, scalars, st.data())
def test_no_damaged_signature_reads_as_the_good_one(r: int, s: int, data: st.DataObject):
    der = bytearray(signature.der_from_raw(r.to_bytes(32, "big") + s.to_bytes(32, "big")))
    good = signature.raw_from_der(bytes(der))
    at = data.draw(st.integers(0, len(der) - 1))
    der[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        found = signature.raw_from_der(bytes(der))
    except WireError:
        return
    assert signature.der_from_raw(found) == bytes(der)
    assert found != good or bytes(der) == signature.der_from_raw(good)


def test_a_high_s_is_accepted_for_phones_do_not_normalise():
    raw = material.sign_raw(material.KPRIVATE, b"message")
    other = signature.ORDER - int.from_bytes(raw[32:], "big")
    der = signature.der_from_raw(raw[:32] + other.to_bytes(32, "big"))
    material.KPRIVATE.public_key().verify(der, b"message", ec.ECDSA(hashes.SHA256()))
    assert signature.raw_from_der(der)[32:] == other.to_bytes(32, "big")


@pytest.mark.parametrize(
    "raw", [b"", bytes(64), b"\xff" * 64, bytes(63) + b"\x01", b"\x01" * 63, b"\x01" * 65]
)
def test_raw_signatures_out_of_range_are_refused(raw: bytes):
    with pytest.raises(WireError):
        signature.der_from_raw(raw)


@pytest.mark.parametrize("number", range(20))
def test_keys_of_other_libraries_are_read_and_named_as_they_name_them(number: int):
    key = ec.derive_private_key(number + 1, ec.SECP256R1()).public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    point = spki.point_from_spki(der)
    assert point == key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert spki.spki_from_point(point) == der
    assert spki.jwk_thumbprint(point) == ECKey.import_key(dict(spki.jwk_members(point))).thumbprint()


def test_every_bit_flip_of_a_public_key_is_refused():
    der = material.spki_of(material.KPRIVATE)
    for bit in range(8 * len(der)):
        flipped = bytearray(der)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WireError):
            spki.point_from_spki(bytes(flipped))


@pytest.mark.parametrize(
    "curve", [ec.SECP384R1(), ec.SECP256K1(), ec.SECP521R1()], ids=lambda curve: curve.name
)
def test_keys_of_other_curves_are_refused(curve: ec.EllipticCurve):
    key = ec.derive_private_key(5, curve).public_key()
    with pytest.raises(WireError):
        spki.point_from_spki(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(WireError):
        spki.check_point(key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


@values.fixed
@given(st.binary(max_size=120))
def test_any_bytes_offered_as_a_key_are_refused_in_order(data: bytes):
    for read in (spki.point_from_spki, lambda der: rsakey.rsa_from_spki(der, least_bits=2048)):
        with pytest.raises(WireError):
            read(data)


def test_damaged_rsa_keys_are_refused_or_are_other_keys():
    good = rsa_wrapping.spki()
    expected = (rsa_wrapping.MODULUS, rsa_wrapping.EXPONENT)
    assert rsakey.rsa_from_spki(good, least_bits=3072) == expected
    for at in range(len(good)):
        for flip in (1, 0x80, 0xFF):
            damaged = bytearray(good)
            damaged[at] ^= flip
            try:
                assert rsakey.rsa_from_spki(bytes(damaged), least_bits=3072) != expected
            except WireError:
                continue
        with pytest.raises(WireError):
            rsakey.rsa_from_spki(good[:at], least_bits=3072)


def test_an_rsa_key_of_another_library_is_read():
    key = rsa.RSAPublicNumbers(65537, rsa_wrapping.MODULUS).public_key()
    assert key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == rsa_wrapping.spki()


def test_the_keys_in_a_package_are_unwrapped_with_rfc_3394():
    package = packages.with_code()
    typed = secret.normalise(secret.group(packages.CODE).lower())
    key = secret.kek(typed, package.wrapping.salt, package.wrapping.iterations)  # type: ignore[union-attr]
    assert aes_key_unwrap(key, package.khmac) == material.KHMAC
    assert aes_key_unwrap(key, package.kauth) == material.KAUTH


@pytest.mark.parametrize("which", OaepHash)
def test_the_sealed_blocks_of_the_vectors_are_opened_by_another_library(which: OaepHash):
    p, q, d = rsa_wrapping.RSA_P, rsa_wrapping.RSA_Q, rsa_wrapping.private_exponent()
    crt = (rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q))
    public = rsa.RSAPublicNumbers(rsa_wrapping.EXPONENT, rsa_wrapping.MODULUS)
    key = rsa.RSAPrivateNumbers(p, q, d, *crt, public).private_key(unsafe_skip_rsa_key_validation=True)
    algorithm = {1: hashes.SHA1, 2: hashes.SHA256, 3: hashes.SHA384, 4: hashes.SHA512}[which]()
    oaep = padding.OAEP(padding.MGF1(algorithm), algorithm, None)
    assert key.decrypt(rsa_wrapping.wrap(material.KHMAC, which), oaep) == material.KHMAC


@values.fixed
@given(st.binary(min_size=10, max_size=10))
def test_an_activation_code_survives_how_people_type_it(random: bytes):
    new = secret.new_code(random)
    assert len(new) == 16
    typed = secret.group(new).lower().replace("0", "o").replace("1", "l").replace("-", " ")
    assert secret.normalise(typed) == new


@values.fixed
@given(st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_other_random_bytes_give_another_code(one: bytes, other: bytes):
    assert (secret.new_code(one) == secret.new_code(other)) == (one == other)


@pytest.mark.parametrize("character", [chr(number) for number in range(0x250)])
def test_only_crockford_symbols_their_look_alikes_and_separators_are_typed(character: str):
    try:
        found = secret.normalise(f"0{character}0")
    except WireError:
        found = None
    if character in " -":
        assert found == "00"
    elif character.isascii() and character.isalnum() and character not in "uU":
        expected = {"O": "0", "I": "1", "L": "1"}.get(character.upper(), character.upper())
        assert found == f"0{expected}0"
    else:
        assert found is None


@pytest.mark.parametrize(
    ("salt", "iterations"),
    [(bytes(15), 10_000), (bytes(17), 10_000), (bytes(16), 9_999), (bytes(16), 10_000_001)],
)
def test_a_weak_or_an_endless_key_derivation_is_refused(salt: bytes, iterations: int):
    with pytest.raises(WireError):
        secret.kek("secret", salt, iterations)
