"""Does the token do what no gateway can do without: generate, compute, verify, store, find, destroy?"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from pkcs11 import Mechanism
from pkcs11.exceptions import PKCS11Error

from hsm import ecdsa, rawkey, selftest
from hsm.doctor.bench import LABEL, Bench, new_id
from hsm.doctor.findings import Finding, Result
from hsm.handles import find_by_id
from hsm.keys import KeyKind, KeyRef
from hsm.sessions import open_session
from hsm.wrapping import destroy_all

_ASKED = (
    *selftest.REQUIRED,
    Mechanism.AES_KEY_GEN,
    Mechanism.AES_KEY_WRAP,
    Mechanism.RSA_PKCS_OAEP,
    Mechanism.AES_ECB_ENCRYPT_DATA,
    Mechanism.AES_CBC_ENCRYPT_DATA,
)
_DIGEST = hashlib.sha256(b"countersign doctor").digest()
_OWN = ec.derive_private_key(7, ec.SECP256R1())  # a published key: nothing is protected by it


def mechanisms(bench: Bench) -> Finding:
    """The list of the token: what it lists may still not work, and the start asks for the list."""
    offered = bench.token.slot.get_mechanisms()
    listed = {mechanism.name: mechanism in offered for mechanism in _ASKED}
    missing = [mechanism.name for mechanism in selftest.REQUIRED if mechanism not in offered]
    others = [name for name, there in listed.items() if not there and name not in missing]
    remark = "; ".join(
        f"{text}: {', '.join(names)}"
        for text, names in (("missing and needed", missing), ("not there", others))
        if names
    )
    result = Result.FAILS if missing else Result.WORKS
    return Finding(trial="mechanisms", result=result, remark=remark, figures=listed)


def generate_secret(bench: Bench) -> Finding:
    """A key computes the same again, and another key something else."""
    first, second = bench.secret(), bench.secret()
    same = bench.mac(first) == bench.mac(first) and len(bench.mac(first)) == hashlib.sha256().digest_size
    if not same or bench.mac(first) == bench.mac(second):
        return _failed("generate_secret", "the keys do not compute what keys compute")
    return Finding(trial="generate_secret", result=Result.WORKS)


def mac_known_answer(bench: Bench) -> Finding:
    """As at each start of the gateway."""
    imported = selftest.test_hmac(bench.session, bench.direct)
    remark = "" if imported else "no key was imported; compared with software through RSA-OAEP"
    return Finding(trial="mac_known_answer", result=Result.WORKS, remark=remark)


def verify_known_answer(bench: Bench) -> Finding:
    """As at each start of the gateway; notes which CKA_PRIVATE public keys may have."""
    bench.private_public_keys = selftest.test_ecdsa(bench.session)
    return Finding(trial="verify_known_answer", result=Result.WORKS)


def public_key_private(bench: Bench) -> Finding:
    """Both values of CKA_PRIVATE, for the record: the gateway takes what goes, private first."""
    works = {}
    for private in (True, False):
        try:
            ecdsa.create_public(bench.session, new_id(), _point(), LABEL, stored=False, private=private)
            works[private] = True
        except PKCS11Error:
            works[private] = False
    remark = "" if works[True] else "public keys are public objects: who has no PIN can add some to the token"
    result = Result.WORKS if works[True] else Result.FAILS
    figures = {"private": works[True], "public": works[False]}
    return Finding(trial="public_key_private", result=result, remark=remark, figures=figures)


def stored_public_key(bench: Bench) -> Finding:
    """A key of a phone, stored, verifies in another session."""
    ref = KeyRef(KeyKind.PUBLIC, new_id())
    private = bench.private_public_keys
    ecdsa.create_public(bench.session, ref.id, _point(), LABEL, stored=True, private=private)
    r, s = utils.decode_dss_signature(_OWN.sign(_DIGEST, ec.ECDSA(utils.Prehashed(SHA256()))))
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    forged = signature[:-1] + bytes([signature[-1] ^ 1])
    with open_session(bench.token) as other:
        (found,) = find_by_id(other, ref)
        handle = int(found.handle)
        right = rawkey.ecdsa_verify(other, handle, _DIGEST, signature)
        wrong = rawkey.ecdsa_verify(other, handle, _DIGEST, forged)
    if not right or wrong:
        return _failed("stored_public_key", "it does not tell a right signature from a wrong one")
    return _destroyed(bench, "stored_public_key", ref)


def stored_secret(bench: Bench) -> Finding:
    """A key that outlives its session, as the gateway's own do."""
    key = bench.secret(stored=True)
    answer, ref = bench.mac(key), KeyRef(KeyKind.SECRET, bytes(key.id))
    with open_session(bench.token) as other:
        found = find_by_id(other, ref)
        if len(found) != 1:
            return _failed("stored_secret", f"another session finds {len(found)} keys of one CKA_ID")
        if bench.mac(found[0], session=other) != answer:
            return _failed("stored_secret", "it computes something else in another session")
    return _destroyed(bench, "stored_secret", ref)


def stored_pair(bench: Bench) -> Finding:
    """As the pair that signs receipts."""
    private, public = ecdsa.generate_pair(bench.session, LABEL, private=bench.private_public_keys)
    point = ec.EllipticCurvePublicKey.from_encoded_point(
        ec.SECP256R1(), ecdsa.public_point(bench.session, public)
    )
    (key,) = find_by_id(bench.session, private)
    raw = rawkey.ecdsa_sign(bench.direct, bench.session, int(key.handle), _DIGEST)
    signature = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    try:
        point.verify(signature, _DIGEST, ec.ECDSA(utils.Prehashed(SHA256())))
    except InvalidSignature:
        return _failed("stored_pair", "software does not accept its signature")
    destroy_all(bench.session, public)
    return _destroyed(bench, "stored_pair", private)


def random(bench: Bench) -> Finding:
    """Not whether they are good: whether there are any."""
    first, second = (bytes(bench.session.generate_random(256)) for _ in range(2))
    if first == second or len(first) != len(second):
        return _failed("random", "it gives the same bytes twice")
    return Finding(trial="random", result=Result.WORKS)


def _destroyed(bench: Bench, trial: str, ref: KeyRef) -> Finding:
    destroy_all(bench.session, ref)
    if find_by_id(bench.session, ref):
        return _failed(trial, "it is still there after it was destroyed")
    return Finding(trial=trial, result=Result.WORKS)


def _failed(trial: str, remark: str) -> Finding:
    return Finding(trial=trial, result=Result.FAILS, remark=remark)


def _point() -> bytes:
    numbers = _OWN.public_key().public_numbers()
    return b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
