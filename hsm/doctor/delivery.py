"""Can a key be handed out once, and its copy never again? Every way is tried, not only the first that goes."""

from __future__ import annotations

import secrets
from functools import partial

from pkcs11.exceptions import PKCS11Error

from hsm import conformance, rsawrap, templates
from hsm.doctor.bench import LABEL, Bench, why
from hsm.doctor.findings import Finding, Result
from hsm.wrapping import KEK_LENGTH, Strategy, import_kek


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
    works = {name: _wraps(bench, name) for name in rsawrap.HASHES}
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
        wrapped = rsawrap.wrap_to_rsa(bench.rsa_on_token(), bench.secret(extractable=True), hash_name)
        value = conformance.by_rsa(bench.rsa, hash_name).open(wrapped)
    except (PKCS11Error, ValueError) as exc:
        return why(exc)
    return None if len(value) == templates.SECRET_LENGTH else "something else came out"


def _seal(strategy: Strategy, bench: Bench) -> Finding:
    trial = f"seal_{strategy.replace('-', '_')}"
    if bench.oaep_hash is None:
        return Finding(trial=trial, result=Result.UNKNOWN, remark="RSA-OAEP does not go")
    under = conformance.by_rsa(bench.rsa, bench.oaep_hash)
    failure = conformance.try_strategy(bench.session, strategy, bench.direct, LABEL, under)
    if failure is None:
        return Finding(trial=trial, result=Result.WORKS)
    return Finding(trial=trial, result=Result.FAILS, remark=failure)


deliver_copy_down, deliver_flip, deliver_unwrap_again = (partial(_deliver, way) for way in Strategy)
seal_copy_down, seal_flip, seal_unwrap_again = (partial(_seal, way) for way in Strategy)
