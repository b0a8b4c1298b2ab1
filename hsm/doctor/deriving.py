"""Can keys be derived instead of stored, from a master that can do nothing else?"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.exceptions import PKCS11Error

from hsm import derivation, rawkey, templates
from hsm.cryptoki import DirectCalls
from hsm.doctor.bench import LABEL, QUESTION, Bench, new_id
from hsm.doctor.findings import Finding, Result
from hsm.keys import CONTEXT_LENGTH
from hsm.wrapping import KEK_LENGTH, import_kek, wrap

_AES_BITS = 256
_BLOCK = bytes(16)


def derive(bench: Bench) -> Finding:
    """As the gateway derives, with a master that the token generates, and then the gateway's own test."""
    if bench.direct is None:
        remark = "the module hands out instances, so it is called in a way that cannot derive"
        return Finding(trial="derive", result=Result.FAILS, remark=remark)
    master = _master(bench, Mechanism.AES_ECB_ENCRYPT_DATA)
    wrong = _is_wrong(bench, bench.direct, master) or _is_open(bench, master)
    if wrong:
        return Finding(trial="derive", result=Result.FAILS, remark=wrong)
    if not derivation.can_derive(bench.session, bench.direct):
        remark = "derivation goes, but not the test that the gateway makes at start with an imported key"
        return Finding(trial="derive", result=Result.FAILS, remark=remark)
    readable = _is_readable(bench, bench.direct, master)
    remark = "whoever has the PIN can derive keys again and read them" if readable else ""
    figures = {"readable_with_the_pin": readable}
    return Finding(trial="derive", result=Result.WORKS, remark=remark, figures=figures)


def derive_cbc(bench: Bench) -> Finding:
    """For the record."""
    master = _master(bench, Mechanism.AES_CBC_ENCRYPT_DATA)
    context = secrets.token_bytes(CONTEXT_LENGTH)
    answers = {
        bench.mac(
            master.derive_key(
                KeyType.GENERIC_SECRET,
                CONTEXT_LENGTH * 8,
                mechanism=Mechanism.AES_CBC_ENCRYPT_DATA,
                mechanism_param=(_BLOCK, context),
                capabilities=MechanismFlag(0),
                template=_without_length(templates.derived_key(extractable=False)),
            )
        )
        for _ in range(2)
    }
    result = Result.WORKS if len(answers) == 1 else Result.FAILS
    return Finding(trial="derive_cbc", result=result)


def _without_length(template: templates.Template) -> templates.Template:
    return {name: value for name, value in template.items() if name is not Attribute.VALUE_LEN}


def _master(bench: Bench, mechanism: Mechanism) -> Any:
    template = templates.master_key(new_id(), LABEL, stored=False)
    return bench.session.generate_key(
        KeyType.AES,
        _AES_BITS,
        mechanism=Mechanism.AES_KEY_GEN,
        capabilities=MechanismFlag(0),
        template=template | {Attribute.ALLOWED_MECHANISMS: [mechanism]},
    )


def _is_wrong(bench: Bench, direct: DirectCalls, master: Any) -> str | None:
    """The same context gives the same key, another one another, and the copy that leaves is the kept one."""
    first, second = secrets.token_bytes(CONTEXT_LENGTH), secrets.token_bytes(CONTEXT_LENGTH)
    kept = templates.raw(templates.derived_key(extractable=False))
    handles = [_derived(bench, direct, master, context, kept) for context in (first, first, second)]
    one, same, other = (rawkey.hmac_sha256(direct, bench.session, each, QUESTION) for each in handles)
    if one != same or one == other:
        return "what is derived does not follow from the context alone"
    copy = _derived(bench, direct, master, first, templates.raw(templates.derived_key(extractable=True)))
    kek = secrets.token_bytes(KEK_LENGTH)
    wrapping = import_kek(bench.session, kek)
    value = aes_key_unwrap(kek, wrap(wrapping, rawkey.secret(bench.session, copy)))
    if hmac.digest(value, QUESTION, hashlib.sha256) != one:
        return "the delivered copy is another key"
    with suppress(PKCS11Error):
        wrap(wrapping, rawkey.secret(bench.session, handles[0]))
        return "a derived key that is not extractable can be wrapped"
    return None


def _is_open(bench: Bench, master: Any) -> str | None:
    """Whoever could encrypt with the master could read every key derived from it."""
    with suppress(PKCS11Error):
        rawkey.aes_encrypt(bench.session, int(master.handle), secrets.token_bytes(CONTEXT_LENGTH))
        return "the master encrypts, although it must not, and so tells every key"
    try:
        master[Attribute.ENCRYPT] = True
    except PKCS11Error:
        pass
    else:
        return "the master can be given the use ENCRYPT, which would read every key"
    return None


def _is_readable(bench: Bench, direct: DirectCalls, master: Any) -> bool:
    open_template = {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
        Attribute.TOKEN: False,
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: False,
        Attribute.EXTRACTABLE: True,
        Attribute.VALUE_LEN: CONTEXT_LENGTH,
        Attribute.ID: (marked := new_id()),
    }
    try:
        raw = templates.raw(templates.packed(open_template))
        _derived(bench, direct, master, secrets.token_bytes(CONTEXT_LENGTH), raw)
        (found,) = bench.session.get_objects({Attribute.ID: marked})
        return bool(found[Attribute.VALUE])
    except (PKCS11Error, ValueError):
        return False


def _derived(
    bench: Bench, direct: DirectCalls, master: Any, context: bytes, template: Mapping[int, bytes]
) -> int:
    number = int(bench.session.handle)  # type: ignore[attr-defined]  # the type stub leaves it out
    return direct.derive(number, int(master.handle), Mechanism.AES_ECB_ENCRYPT_DATA, context, template)
