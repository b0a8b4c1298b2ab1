"""Does the token keep what it promises of a key: that it cannot leave, nor be used for anything else?

A module that lies about it is worse than one that cannot do it, and only trying tells.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pkcs11 import Attribute, Mechanism
from pkcs11.exceptions import PKCS11Error

from hsm import rsawrap, templates
from hsm.doctor.bench import LABEL, QUESTION, Bench, new_id, why
from hsm.doctor.findings import Finding, Result
from hsm.faults import Fault, classify
from hsm.wrapping import generate, wrap

_OTHER_MECHANISMS = (Mechanism.SHA512_HMAC, Mechanism.SHA384_HMAC, Mechanism.SHA_1_HMAC)


def never_extractable(bench: Bench) -> Finding:
    """Every way out that there is, on a key that may be changed otherwise."""
    key = bench.secret(modifiable=True)
    leaks = [what for what, attempt in _ways_out(bench, key).items() if _succeeds(attempt)]
    if leaks:
        remark = f"the module lies: a key that is not extractable was {', '.join(leaks)}"
        return Finding(trial="never_extractable", result=Result.FAILS, remark=remark)
    return Finding(trial="never_extractable", result=Result.WORKS)


def _ways_out(bench: Bench, key: Any) -> dict[str, Callable[[], object]]:
    def made_extractable() -> object:
        key[Attribute.EXTRACTABLE] = True
        return key[Attribute.EXTRACTABLE] or None

    def made_readable() -> object:
        key[Attribute.SENSITIVE] = False
        return key[Attribute.VALUE]

    return {
        "wrapped by AES": lambda: wrap(bench.aes(Attribute.WRAP), key),
        "wrapped by RSA": lambda: rsawrap.wrap_to_rsa(bench.rsa_on_token(), key, "SHA-1"),
        "read": lambda: key[Attribute.VALUE],
        "made extractable": made_extractable,
        "made readable": made_readable,
    }


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        return bool(attempt())
    except (PKCS11Error, NotImplementedError, AttributeError, KeyError):  # refused, or no such way
        return False


def allowed_mechanisms(bench: Bench) -> Finding:
    """An HMAC key for SHA-256 must not compute with another hash."""
    offered = bench.token.slot.get_mechanisms()
    others = [mechanism for mechanism in _OTHER_MECHANISMS if mechanism in offered]
    if not others:
        remark = "the token has no other HMAC to try it with"
        return Finding(trial="allowed_mechanisms", result=Result.UNKNOWN, remark=remark)
    try:
        bench.secret()
    except PKCS11Error as exc:
        return Finding(trial="allowed_mechanisms", result=Result.FAILS, remark=_why_none(bench, exc))
    for mechanism in others:
        bench.begin()
        if _can_sign(bench, mechanism):
            remark = f"a key for SHA256_HMAC alone computed {mechanism.name}"
            return Finding(trial="allowed_mechanisms", result=Result.FAILS, remark=remark)
    return Finding(trial="allowed_mechanisms", result=Result.WORKS)


def _why_none(bench: Bench, error: PKCS11Error) -> str:
    """Find out whether a module that generates no key of ours takes offence at this attribute."""
    template = templates.hmac_key(new_id(), LABEL, stored=False, extractable=False, modifiable=False)
    del template[Attribute.ALLOWED_MECHANISMS]
    with suppress(PKCS11Error):
        generate(bench.session, template)
        return f"the module does not know the attribute ({why(error)}), which every key of the gateway has"
    return why(error)


def _can_sign(bench: Bench, mechanism: Mechanism) -> bool:
    key = bench.secret()
    with suppress(PKCS11Error):
        return bool(key.sign(QUESTION, mechanism=mechanism))
    return False


def modifiable(bench: Bench) -> Finding:
    """A key that is not modifiable must not get another use."""
    key = bench.secret(modifiable=False)
    try:
        key[Attribute.DERIVE] = True
    except PKCS11Error as exc:
        if classify(exc) is not Fault.CALLER:
            remark = f"the module answers {why(exc)}"
            return Finding(trial="modifiable", result=Result.UNKNOWN, remark=remark)
        return Finding(trial="modifiable", result=Result.WORKS)
    remark = "a key that is not modifiable was given the use DERIVE"
    return Finding(trial="modifiable", result=Result.FAILS, remark=remark)
