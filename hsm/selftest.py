"""Does the token compute what it must? Known answers, asked at every start before anything else is done."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from contextlib import suppress
from typing import Any

import pkcs11
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pkcs11 import Mechanism, Session
from pkcs11.exceptions import PKCS11Error

from hsm import rawkey, templates
from hsm.cryptoki import DirectCalls
from hsm.ecdsa import create_public
from hsm.errors import MechanismMissing, ModuleUnusable, SelfTestFailed
from hsm.faults import Fault, classify
from hsm.keys import ID_LENGTH
from hsm.rsawrap import import_rsa, wrap_to_rsa
from hsm.wrapping import generate

REQUIRED = (  # AES_KEY_WRAP is not among them: without it keys are used, but none delivered
    Mechanism.GENERIC_SECRET_KEY_GEN,
    Mechanism.SHA256_HMAC,
    Mechanism.EC_KEY_PAIR_GEN,
    Mechanism.ECDSA,
)

# RFC 4231, section 4.2. HMAC fills a key up with zero bytes, so the twelve at the end change nothing; without
# them SoftHSM finds the key too short.
_HMAC_KEY = bytes([0x0B]) * 20 + bytes(12)
_HMAC_DATA = b"Hi There"
_HMAC_VALUE = bytes.fromhex("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")

# RFC 6979, section A.2.5: P-256, SHA-256, message "sample".
_POINT = bytes.fromhex(
    "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
)
_DIGEST = hashlib.sha256(b"sample").digest()
_SIGNATURE = bytes.fromhex(
    "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
    "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
)
_MEND = "Do not use this token; check the module's version, and the device with its vendor's own tests."


def require_mechanisms(token: pkcs11.Token) -> None:
    """Raise MechanismMissing if the token lacks one of ours. Needs no login."""
    try:
        offered = token.slot.get_mechanisms()
    except PKCS11Error as exc:
        text = f"The token cannot list its mechanisms ({type(exc).__name__})."
        raise ModuleUnusable(text, "Check that the device answers, with its vendor's own tools.") from exc
    missing = [mechanism.name for mechanism in REQUIRED if mechanism not in offered]
    if missing:
        mend = "Use a module that has them, or allow them in the token's policy."
        raise MechanismMissing(f"The token lacks the mechanisms {', '.join(missing)}.", mend)


def test_known_answers(session: Session, direct: DirectCalls | None) -> bool:
    """Compute known answers; returns the CKA_PRIVATE with which the module accepts public keys.

    It goes the way that everything goes later, `direct` or not. Raises SelfTestFailed. The caller holds the lock alone.
    """
    try:
        test_hmac(session, direct)
        return test_ecdsa(session)
    except PKCS11Error as exc:
        raise SelfTestFailed(f"The self-test of the token failed ({type(exc).__name__}).", _MEND) from exc


def test_hmac(session: Session, direct: DirectCalls | None) -> bool:
    """Compute a published MAC; False if no key may be imported: then one is compared with what software computes.

    Strict FIPS modes refuse secrets in plain. What they let out, wrapped to a fresh RSA key, tells as much.
    """
    try:
        key: Any = session.create_object(templates.known_secret(secrets.token_bytes(ID_LENGTH), _HMAC_KEY))
    except PKCS11Error as exc:
        if classify(exc) is not Fault.CALLER:
            raise
        _compare_with_software(session, direct)
        return False
    try:
        if rawkey.hmac_sha256(direct, session, int(key.handle), _HMAC_DATA) != _HMAC_VALUE:
            raise SelfTestFailed("The token computes HMAC-SHA-256 wrongly.", _MEND)
    finally:
        _forget(key)
    return True


def _compare_with_software(session: Session, direct: DirectCalls | None) -> None:
    own = rsa.generate_private_key(65537, 2048)
    numbers = own.public_key().public_numbers()
    template = templates.hmac_key(
        secrets.token_bytes(ID_LENGTH), "countersign-test", stored=False, extractable=True, modifiable=False
    )
    made = [generate(session, template)]
    try:
        made.append(import_rsa(session, numbers.n, numbers.e, "countersign-test"))
        # SHA-1 is what all modules have; the wrapping guards nothing here.
        oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303
        value = own.decrypt(wrap_to_rsa(made[1], made[0], "SHA-1"), oaep)
        if rawkey.hmac_sha256(direct, session, int(made[0].handle), _HMAC_DATA) != hmac.digest(
            value, _HMAC_DATA, hashlib.sha256
        ):
            raise SelfTestFailed("The token computes HMAC-SHA-256 wrongly.", _MEND)
    except ValueError as exc:
        raise SelfTestFailed("The token wraps by RSA-OAEP wrongly.", _MEND) from exc
    finally:
        for each in made:
            _forget(each)


def test_ecdsa(session: Session) -> bool:
    """Verify a published signature and a forged one; returns the CKA_PRIVATE that public keys may have."""
    private, key = _import_point(session)
    try:
        handle = int(key.handle)
        forged = _SIGNATURE[:-1] + bytes([_SIGNATURE[-1] ^ 1])
        if not rawkey.ecdsa_verify(session, handle, _DIGEST, _SIGNATURE):
            raise SelfTestFailed("The token refuses a valid ECDSA signature.", _MEND)
        if rawkey.ecdsa_verify(session, handle, _DIGEST, forged):
            raise SelfTestFailed("The token accepts a forged ECDSA signature.", _MEND)
    finally:
        _forget(key)
    return private


def _import_point(session: Session) -> tuple[bool, Any]:
    """Private objects first: without the PIN nobody can add or remove them. Some modules want them public."""
    new_id = secrets.token_bytes(ID_LENGTH)
    try:
        return True, create_public(session, new_id, _POINT, "countersign-test", stored=False, private=True)
    except PKCS11Error:
        return False, create_public(session, new_id, _POINT, "countersign-test", stored=False, private=False)


def _forget(key: Any) -> None:
    with suppress(PKCS11Error):  # a session object: it ends with its session
        key.destroy()
