"""The counterparts agree with every published vector that is about them."""

import functools
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tests.counterparts.callback_receiver import SealPolicy, verify_receipt
from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Account
from tests.counterparts.phone_keys import Keys
from tests.counterparts.phone_line import Answer
from tests.counterparts.phone_offline import OfflineTransaction
from tests.counterparts.phone_package import (
    Flags,
    Package,
    Policy,
    WrongSecret,
    normalise_code,
    read_package,
)
from tests.counterparts.phone_tlv import Malformed, b64, base45_decode, base45_encode, fields, unb64
from tests.counterparts.phone_wire import Signed, format_time, mac, parse_time, step_at, truncate

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
Case = dict[str, Any]


def document(name: str) -> Case:
    found = json.loads((VECTORS / f"{name}.json").read_text())
    assert isinstance(found, dict)
    return found


def cases(name: str, kind: str, *, valid: bool = True) -> Any:
    chosen = [case for case in document(name)["cases"] if (case["kind"], case["valid"]) == (kind, valid)]
    assert chosen, f"{name} has no such {kind}"
    return pytest.mark.parametrize("case", chosen, ids=[case["name"] for case in chosen])


def tags(names: list[str]) -> list[int]:
    return [int(name, 16) for name in names]


def read_tlv(case: Case) -> dict[int, bytes]:
    return fields(
        bytes.fromhex(case["data"]),
        required=tags(case["required"]),
        optional=tags(case["optional"]),
        empty=tags(case["may_be_empty"]),
    )


@cases("encodings", "tlv")
def test_tlv(case: Case):
    assert {f"{tag:02X}": value.hex() for tag, value in read_tlv(case).items()} == case["parts"]


@cases("encodings", "tlv", valid=False)
def test_wrong_tlv(case: Case):
    with pytest.raises(Malformed):
        read_tlv(case)


@cases("encodings", "base45")
def test_base45(case: Case):
    assert base45_decode(case["text"]).hex() == case["data"]
    assert base45_encode(bytes.fromhex(case["data"])) == case["text"]


@cases("encodings", "base45", valid=False)
def test_wrong_base45(case: Case):
    with pytest.raises(Malformed):
        base45_decode(case["text"])


@cases("encodings", "base64")
def test_base64(case: Case):
    assert unb64(case["text"]).hex() == case["data"]
    assert b64(bytes.fromhex(case["data"])) == case["text"]


@cases("encodings", "base64", valid=False)
def test_wrong_base64(case: Case):
    with pytest.raises(Malformed):
        unb64(case["text"])


@cases("encodings", "time")
def test_time(case: Case):
    assert parse_time(case["text"]).timestamp() == case["unix"]
    assert format_time(datetime.fromtimestamp(case["unix"], UTC)) == case["text"]


@cases("encodings", "step")
def test_step(case: Case):
    assert step_at(datetime.fromtimestamp(case["unix"], UTC), case["step_seconds"]) == case["step"]


@cases("proofs", "message")
def test_message_code_and_signature(case: Case):
    message = Signed(
        operation=case["operation"],
        application=case["application"],
        user=case["user"],
        media_type=case["media_type"],
        content_digest=bytes.fromhex(case["content_sha256"]),
        fingerprint=bytes.fromhex(case["fingerprint"]),
        step=case["step"],
        transaction=case["transaction"],
        title=case["title"],
    ).encode()
    assert message.hex() == case["message"]
    code = mac(bytes.fromhex(case["khmac"]), message)
    assert code.hex() == case["code"]
    assert {digits: truncate(code, int(digits)) for digits in case["short_codes"]} == case["short_codes"]
    public = load_der_public_key(bytes.fromhex(case["kpublic"]))
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(bytes.fromhex(case["signature"]), message, ec.ECDSA(hashes.SHA256()))


@cases("proofs", "truncate")
def test_truncate(case: Case):
    assert truncate(bytes.fromhex(case["mac"]), case["digits"]) == case["short_code"]


@cases("packages", "policy")
def test_policy(case: Case):
    found = Policy.decode(bytes.fromhex(case["policy"]))
    names = ("flags", "password_length", "password_classes", "step_seconds", "digits", "device_fields")
    assert {name: getattr(found, name) for name in names} == {name: case[name] for name in names}


@cases("packages", "policy", valid=False)
def test_wrong_policy(case: Case):
    with pytest.raises(Malformed):
        Policy.decode(bytes.fromhex(case["policy"]))


@functools.cache
def device_key() -> rsa.RSAPrivateKey:
    numbers = document("packages")["rsa"]
    n, d = (int(numbers[name], 16) for name in ("modulus", "private_exponent"))
    p, q = rsa.rsa_recover_prime_factors(n, 65537, d)
    public = rsa.RSAPublicNumbers(65537, n)
    exponents = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, d, *exponents, public).private_key()


@cases("packages", "package")
def test_package(case: Case):
    data = bytes.fromhex(case["package"])
    assert read_package(case["qr"]) == data
    found = Package.decode(data)
    names = ("issuer", "application", "user", "keyset", "url", "method", "secret")
    assert {name: getattr(found, name) for name in names} == {name: case[name] for name in names}
    assert found.valid_until.timestamp() == case["valid_until"]
    assert (found.door_pin.hex() if found.door_pin else None) == case["door_pin"]
    assert found.digest.hex() == case["digest"]
    secret, key = case.get("opened_by"), device_key() if "hash" in case else None
    assert [part.hex() for part in found.unwrap(secret, key)] == [case["khmac"], case["kauth"]]


@cases("packages", "package", valid=False)
def test_wrong_package(case: Case):
    with pytest.raises(Malformed):
        Package.decode(read_package(case["qr"]) if "qr" in case else bytes.fromhex(case["package"]))


@cases("packages", "normalise")
def test_normalise(case: Case):
    assert normalise_code(case["text"]) == case["code"]


@cases("packages", "normalise", valid=False)
def test_wrong_code(case: Case):
    with pytest.raises(WrongSecret):
        normalise_code(case["text"])


@cases("packages", "kek")
def test_kek(case: Case):
    salt = bytes.fromhex(case["salt"])
    assert (
        hashlib.pbkdf2_hmac("sha256", case["secret"].encode(), salt, case["iterations"]).hex() == case["kek"]
    )


@cases("offline", "offline")
def test_offline(case: Case):
    found = OfflineTransaction.from_qr(case["qr"])
    assert found == OfflineTransaction.decode(bytes.fromhex(case["offline"]))
    names = ("application", "user", "transaction", "title", "media_type", "digits", "operation")
    assert {name: getattr(found, name) for name in names} == {name: case[name] for name in names}
    assert found.content.hex() == case["content"]
    assert found.expires.timestamp() == case["expires"]


@cases("offline", "offline", valid=False)
def test_wrong_offline(case: Case):
    read = OfflineTransaction.from_qr if "qr" in case else OfflineTransaction.decode
    with pytest.raises(Malformed):
        read(case["qr"] if "qr" in case else bytes.fromhex(case["offline"]))


def phone_with(kauth: str, keyset: str) -> Phone:
    rules = Policy(
        flags=Flags(0), password_length=6, password_classes=0, step_seconds=180, digits=8, device_fields=0
    )
    account = Account(
        issuer="Example Bank",
        application="app_bank",
        user="user-0001",
        keyset=keyset,
        url="http://127.0.0.1",
        valid_until="2031-01-01T00:00:00Z",
        policy=rules,
        fingerprint=b"",
    )
    return Phone(account, Keys(bytes(32), bytes.fromhex(kauth), bytes(32)))


@cases("door", "request")
def test_request(case: Case):
    asked = json.loads(case["raw"])
    with phone_with(case["kauth"], asked["keyset"]) as phone:
        raw = phone.envelope(case["action"], asked["body"], time=asked["time"], nonce=asked["nonce"])
        assert raw.decode() == case["raw"]
        assert b64(phone.authcode(raw)) == case["header"]


@cases("door", "answer")
def test_answer(case: Case):
    headers = {"PC-Authorization": case["header"]}
    if case["content_type"]:
        headers["Content-Type"] = case["content_type"]
    answer = Answer(
        status=case["status"],
        headers=httpx2.Headers(headers),
        body=bytes.fromhex(case["body"]),
        authcode=bytes.fromhex(case["authcode"]),
    )
    assert answer.proved_under(bytes.fromhex(case["kauth"]))
    assert not answer.proved_under(bytes(32))


@cases("reports", "seal")
def test_seal(case: Case):
    headers = {name.lower(): value for name, value in case["headers"].items()}
    stamped = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    for secret in case["secrets"]:
        trusted = SealPolicy(secrets=[secret], clock=lambda: stamped)
        assert trusted._sealed(secret, case["body"].encode(), headers)
        assert not trusted._sealed(secret, case["body"].encode() + b" ", headers)


@cases("reports", "receipt")
def test_receipt(case: Case):
    assert verify_receipt(case["receipt"], {"keys": [case["jwk"]]}) == case["claims"]
