"""Can a key be handed out once, and its copy never again? Every way is tried, not only the first that goes."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from pkcs11 import Attribute
from pkcs11.exceptions import PKCS11Error

from hsm import conformance, rsawrap, templates
from hsm.doctor.bench import LABEL, QUESTION, Bench, new_id, why
from hsm.doctor.findings import Finding, Result
from hsm.wrapping import KEK_LENGTH, Strategy, generate, import_kek

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "SHA-256": hashes.SHA256(),
    "SHA-384": hashes.SHA384(),
    "SHA-512": hashes.SHA512(),
    "SHA-1": hashes.SHA1(),  # noqa: S303  # as a mask of OAEP it is not broken, and some modules have no other
}


def import_key(bench: Bench) -> Finding:
    """What strict modes, such as FIPS 140 level 3, forbid."""
    try:
        import_kek(bench.session, secrets.token_bytes(KEK_LENGTH))
    except PKCS11Error as exc:
        remark = f"refused ({why(exc)}); strict FIPS modes forbid it"
        return Finding(trial="import_key", result=Result.FAILS, remark=remark)
    return Finding(trial="import_key", result=Result.WORKS)


def aes_wrap(bench: Bench) -> Finding:
    """Where it goes, and no way of keeping a copy is safe, the gateway does not start."""
    if conformance.can_wrap(bench.session):
        return Finding(trial="aes_wrap", result=Result.WORKS)
    return Finding(trial="aes_wrap", result=Result.FAILS, remark="refused")


def _deliver(strategy: Strategy, bench: Bench) -> Finding:
    trial = f"deliver_{strategy.replace('-', '_')}"
    failure = conformance.try_strategy(bench.session, strategy, bench.direct, LABEL)
    if failure is None:
        return Finding(trial=trial, result=Result.WORKS)
    return Finding(trial=trial, result=Result.FAILS, remark=failure)


def rsa_wrap(bench: Bench) -> Finding:
    """Which hashes go; phones name those that they can take."""
    works = {name: _wraps(bench, name) for name in _HASHES}
    good = [name for name, failure in works.items() if failure is None]
    figures = {"hashes": good}
    if not good:
        remark = f"refused ({works['SHA-1']})"
        return Finding(trial="rsa_wrap", result=Result.FAILS, remark=remark, figures=figures)
    bench.oaep_hash = good[0]
    if "SHA-256" in good:
        return Finding(trial="rsa_wrap", result=Result.WORKS, figures=figures)
    remark = f"with {', '.join(good)} only: phones that insist on SHA-256 are not served"
    return Finding(trial="rsa_wrap", result=Result.RESTRICTED, remark=remark, figures=figures)


def _wraps(bench: Bench, hash_name: str) -> str | None:
    try:
        _, value = _handed_out(bench, bench.secret(extractable=True), hash_name)
    except (PKCS11Error, ValueError) as exc:
        return why(exc)
    return None if len(value) == templates.SECRET_LENGTH else "something else came out"


def _handed_out(bench: Bench, key: Any, hash_name: str) -> tuple[Any, bytes]:
    """Wrap a key to an RSA key and unwrap it in software; returns the wrapping key and the value."""
    wrapping = bench.rsa_on_token()
    algorithm = _HASHES[hash_name]
    oaep = padding.OAEP(padding.MGF1(algorithm), algorithm, None)
    return wrapping, bench.rsa.decrypt(rsawrap.wrap_to_rsa(wrapping, key, hash_name), oaep)


def seal_copy_down(bench: Bench) -> Finding:
    """The way of `hsm/wrapping.py`, without an AES key."""

    def keep(key: Any) -> Any:
        return key.copy(templates.kept_copy(new_id(), LABEL))

    return _seal(bench, "seal_copy_down", bench.secret(extractable=True, modifiable=True), keep)


def seal_flip(bench: Bench) -> Finding:
    """The way of `hsm/wrapping.py`, without an AES key."""
    template = templates.hmac_key(new_id(), LABEL, stored=True, extractable=True, modifiable=True)
    key = generate(bench.session, templates.packed(template | {Attribute.COPYABLE: False}))

    def keep(key: Any) -> Any:
        key[Attribute.EXTRACTABLE] = False
        return key

    return _seal(bench, "seal_flip", key, keep)


def _seal(bench: Bench, trial: str, key: Any, keep: Callable[[Any], Any]) -> Finding:
    if bench.oaep_hash is None:
        return Finding(trial=trial, result=Result.UNKNOWN, remark="RSA-OAEP does not go")
    wrapping, value = _handed_out(bench, key, bench.oaep_hash)
    kept = keep(key)
    if bench.mac(kept) != hmac.digest(value, QUESTION, hashlib.sha256):
        return Finding(trial=trial, result=Result.FAILS, remark="the kept key is not the delivered one")
    try:
        rsawrap.wrap_to_rsa(wrapping, kept, bench.oaep_hash)
    except PKCS11Error:
        return Finding(trial=trial, result=Result.WORKS)
    return Finding(trial=trial, result=Result.FAILS, remark="the kept key can still be wrapped")


deliver_copy_down, deliver_flip, deliver_unwrap_again = (partial(_deliver, way) for way in Strategy)
