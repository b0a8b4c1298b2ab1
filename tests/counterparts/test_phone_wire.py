"""The phone's bytes against the published vectors of the RFCs and the layout of the reference."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from tests.counterparts.phone_keys import Keys
from tests.counterparts.phone_offline import OfflineTransaction
from tests.counterparts.phone_package import (
    Package,
    WrongSecret,
    digest,
    normalise_code,
    read_package,
)
from tests.counterparts.phone_tlv import (
    Malformed,
    base45_decode,
    base45_encode,
    element,
    elements,
    fields,
    parse,
    unb64,
)
from tests.counterparts.phone_wire import Operation, Signed, answer_proof, mac, step_at, truncate
from tests.counterparts.stand_in_gateway import KAUTH, KHMAC, SECRET, package_tlv, policy_tlv

URL = "https://gateway.example"


# RFC 9285 section 4.3 and 4.4.
@pytest.mark.parametrize(
    ("plain", "encoded"),
    [
        (b"AB", "BB8"),
        (b"Hello!!", "%69 VD92EX0"),
        (b"base-45", "UJCLQE7W581"),
        (b"ietf!", "QED8WEX0"),
        (b"", ""),
    ],
)
def test_base45_is_that_of_rfc_9285(plain: bytes, encoded: str):
    assert base45_encode(plain) == encoded
    assert base45_decode(encoded) == plain


@pytest.mark.parametrize("text", ["GGW", ":::", "::", "A", "BB8A", "bb8", "B_8", "\u00c4B8"])
def test_base45_that_nobody_would_write_is_refused(text: str):
    with pytest.raises(Malformed):
        base45_decode(text)


# RFC 6238 appendix B, SHA-256: HMAC and truncation of a step, eight digits.
@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "46119246"),
        (1111111109, "68084774"),
        (1111111111, "67062674"),
        (1234567890, "91819424"),
        (2000000000, "90698825"),
        (20000000000, "77737706"),
    ],
)
def test_the_short_code_of_eight_digits_is_that_of_rfc_6238(seconds: int, code: str):
    full = mac(b"12345678901234567890123456789012", (seconds // 30).to_bytes(8, "big"))
    assert truncate(full, 8) == code
    assert truncate(full, 6) == code[2:]


def test_codes_of_nine_and_ten_digits_use_63_bits():
    full = bytes(range(31)) + b"\xf3"
    number = int.from_bytes(full[3:11], "big") & (2**63 - 1)
    assert truncate(full, 10) == str(number)[-10:]
    assert truncate(full, 9) == str(number)[-9:]
    assert truncate(bytes(32), 10) == "0000000000"


@pytest.mark.parametrize("digits", [0, 5, 11])
def test_other_lengths_of_code_are_refused(digits: int):
    with pytest.raises(ValueError, match="6 to 10"):
        truncate(bytes(32), digits)


def test_the_mac_is_that_of_rfc_4231():
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert mac(b"Jefe", b"what do ya want for nothing?").hex() == expected


def test_a_stored_scalar_gives_the_key_of_rfc_6979():
    number = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
    keys = Keys(bytes(32), bytes(32), (number - 1).to_bytes(32, "big"))
    x = keys.private_key.public_key().public_numbers().x
    assert x == 0x60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6


def test_key_unwrapping_is_that_of_rfc_3394():
    wrapped = "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"
    plain = "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f"
    assert aes_key_unwrap(bytes(range(32)), bytes.fromhex(wrapped)).hex() == plain


def test_the_message_has_the_layout_of_the_reference():
    signed = Signed(
        operation=Operation.APPROVE,
        application="a",
        user="u",
        media_type="t/p",
        content_digest=bytes(32),
        fingerprint=b"\x11" * 32,
        step=0x0102,
        transaction="x",
        title="\u00c4",
    )
    data = "800101" + "810178" + "8203742f70" + "8320" + "00" * 32 + "8402c384"
    who = "800161" + "810175"
    expected = f"a0{len(data) // 2:02x}{data}a106{who}8220{'11' * 32}83080000000000000102"
    assert signed.encode().hex() == expected


def test_what_is_absent_leaves_no_trace_in_the_message():
    signed = Signed(
        operation=Operation.REGISTER_KEY,
        application="a",
        user="u",
        media_type="t",
        content_digest=bytes(32),
        fingerprint=b"",
        step=1,
    )
    data = "800104" + "820174" + "8320" + "00" * 32
    assert signed.encode().hex() == f"a0{len(data) // 2:02x}{data}a106800161810175820083080000000000000001"


def test_the_answer_proof_covers_status_type_and_body():
    authcode = bytes(range(32))
    covered = b"\x00" + authcode + b"\x00\xc8" + hashlib.sha256(b"t").digest() + hashlib.sha256(b"b").digest()
    assert answer_proof(KAUTH, authcode, 200, b"t", b"b") == mac(KAUTH, covered)


def test_a_step_is_whole_seconds_since_the_epoch_divided():
    assert step_at(datetime(1970, 1, 1, 0, 5, 59, 999999, tzinfo=UTC), 180) == 1


@pytest.mark.parametrize("size", [1, 127, 128, 255, 256, 65535, 65536])
def test_every_length_is_read_back(size: int):
    assert parse(element(0x80, bytes(size))) == [(0x80, bytes(size))]


@pytest.mark.parametrize(
    "text",
    [
        "80",  # no length
        "8002ff",  # truncated value
        "8080",  # indefinite
        "80810100",  # not the shortest form
        "8082008000",  # leading zero
        "808400000001ff",  # four length bytes
        "8081",  # truncated length
        "800101800101",  # repeated
        "810101800101",  # out of order
        "820101a20101",  # the same number twice
        "9f1f0101",  # long tag
        "bf0101",  # the same, constructed
        "300101",  # universal class
        "c00101",  # private class
        "80010100",  # trailing
    ],
)
def test_tlv_with_a_second_encoding_is_refused(text: str):
    with pytest.raises(Malformed):
        parse(bytes.fromhex(text))


def test_missing_unknown_and_empty_fields_are_refused():
    data = elements([(0x80, b"a"), (0x81, b"")])
    assert fields(data, required=(0x80,), optional=(0x81,), empty=(0x81,)) == {0x80: b"a", 0x81: b""}
    for required, optional in (((0x80,), ()), ((0x80, 0x81), ()), ((0x80, 0x81, 0x82), ())):
        with pytest.raises(Malformed):
            fields(data, required=required, optional=optional)


@pytest.mark.parametrize("text", ["QQ", "QQ=", "QR==", "QQ==\n", " QQ==", "Q-=="])
def test_base64_that_is_not_canonical_is_refused(text: str):
    with pytest.raises(Malformed):
        unb64(text)


def test_a_package_opens_with_its_secret_only():
    package = Package.decode(package_tlv(URL))
    assert (package.issuer, package.user, package.keyset) == ("Example Bank", "user-1", "ks_1")
    assert package.policy.step_seconds == 180
    assert package.unwrap(SECRET, None) == (KHMAC, KAUTH)
    for wrong in (SECRET.lower(), "", None):
        with pytest.raises(WrongSecret):
            package.unwrap(wrong, None)


def test_a_package_that_carries_its_secret_needs_nothing_else():
    assert Package.decode(package_tlv(URL, carry=True)).unwrap(None, None) == (KHMAC, KAUTH)


def test_the_package_digest_leaves_the_secret_out_and_covers_all_else():
    carrying = package_tlv(URL, pin=bytes(range(32)), carry=True)
    plain = elements(part for part in parse(carrying) if part[0] != 0x8B)
    assert digest(plain) == digest(carrying) == hashlib.sha256(plain).digest()
    assert digest(package_tlv(URL, carry=True)) != digest(plain)


def test_a_package_sealed_to_the_phone_opens_with_its_key():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    scheme = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    blocks = [key.public_key().encrypt(plain, scheme) for plain in (KHMAC, KAUTH)]
    kept = dict(parse(package_tlv(URL)))
    kept |= {0xA8: elements([(0x80, b"\x02"), (0x83, b"\x02")]), 0x89: blocks[0], 0x8A: blocks[1]}
    package = Package.decode(elements(kept.items()))
    assert package.unwrap(None, key) == (KHMAC, KAUTH)
    with pytest.raises(WrongSecret):
        package.unwrap(SECRET, None)


def test_every_truncation_of_a_package_is_refused():
    whole = package_tlv(URL)
    for size in range(len(whole)):
        with pytest.raises(Malformed):
            Package.decode(whole[:size])


def test_text_of_qr_codes_and_base64_lead_to_the_same_package():
    data = package_tlv(URL)
    assert read_package(f"PC1:{base45_encode(data)}") == data
    assert read_package(data) == data


@pytest.mark.parametrize("typed", ["7dkp-2m9x-q4rt-6wyz", "7DKP 2M9X Q4RT 6WYZ", SECRET])
def test_an_activation_code_is_read_as_people_type_it(typed: str):
    assert normalise_code(typed) == SECRET


def test_look_alikes_in_an_activation_code_are_digits():
    assert normalise_code("oO-iI-lL") == "001111"


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("Ab1!x", "6 characters"),
        ("AB1!XX", "lower-case"),
        ("ab1!xx", "upper-case"),
        ("Abc!xx", "digit"),
        ("Abc1xx", "another"),
        ("Abc1x!", None),
    ],
)
def test_the_password_follows_the_rules_of_the_package(password: str, fault: str | None):
    policy = Package.decode(package_tlv(URL, policy=policy_tlv(classes=15))).policy
    found = policy.password_fault(password)
    assert found is None if fault is None else fault in str(found)


def test_an_offline_transaction_is_read_from_its_text():
    until = datetime(2031, 1, 1, tzinfo=UTC)
    parts = [b"\x01", b"app_1", b"user-1", b"txn_1", b"Payment", b"text/plain", b"Pay", b"\x08"]
    data = elements((0x80 + number, value) for number, value in enumerate(parts))
    data += element(0x88, int(until.timestamp()).to_bytes(8, "big"))
    found = OfflineTransaction.from_qr("PT1:" + base45_encode(data))
    assert (found.transaction, found.title, found.content, found.digits) == ("txn_1", "Payment", b"Pay", 8)
    assert found.expires - until == timedelta(0)
    assert found.kind == "sign"
    with pytest.raises(Malformed):
        OfflineTransaction.from_qr("PC1:" + base45_encode(data))
