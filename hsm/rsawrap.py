"""How is a key wrapped to an RSA key of somebody else, without a secret of ours?

Modules that refuse a wrapping key in plain, as they do in strict FIPS modes, take a public key. The mechanism is
CKM_RSA_PKCS_OAEP with the same hash in both places and an empty label (RFC 8017, section 7.1).
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pkcs11 import MGF, Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, Session
from pkcs11.exceptions import PKCS11Error

from hsm import templates
from hsm.faults import Fault, classify
from hsm.keys import ID_LENGTH

_PROBE = "countersign-probe"
HASHES = {
    "SHA-256": (Mechanism.SHA256, MGF.SHA256),
    "SHA-384": (Mechanism.SHA384, MGF.SHA384),
    "SHA-512": (Mechanism.SHA512, MGF.SHA512),
    "SHA-1": (Mechanism.SHA_1, MGF.SHA1),
}


@dataclass(frozen=True, slots=True)
class RsaCover:
    """An RSA public key of somebody else, and the hash (of HASHES) under which keys are wrapped to it."""

    modulus: int
    exponent: int
    hash_name: str


def import_rsa(session: Session, modulus: int, exponent: int, label: str) -> Any:
    """Create the public session key that wraps. Modules want CKA_PRIVATE differently, so both are tried."""
    try:
        return session.create_object(_template(modulus, exponent, label, private=True))
    except PKCS11Error as exc:
        if classify(exc) is not Fault.CALLER:
            raise
        return session.create_object(_template(modulus, exponent, label, private=False))


def wrap_to_rsa(wrapping: Any, key: Any, hash_name: str) -> bytes:
    """Wrap `key` by RSA-OAEP with one of HASHES; as long as the modulus."""
    mechanism, mask = HASHES[hash_name]
    parameter = (mechanism, mask, None)
    return bytes(wrapping.wrap_key(key, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=parameter))


def usable_hashes(session: Session, modulus: int, exponent: int) -> frozenset[str]:
    """Return the names of HASHES with which the module wraps, tried with a throw-away key. The lock is held alone."""
    made: list[Any] = []
    usable = set()
    try:
        made.append(import_rsa(session, modulus, exponent, _PROBE))
        template = templates.hmac_key(
            secrets.token_bytes(ID_LENGTH), _PROBE, stored=False, extractable=True, modifiable=True
        )
        made.append(
            session.generate_key(
                KeyType.GENERIC_SECRET,
                templates.SECRET_LENGTH * 8,
                mechanism=Mechanism.GENERIC_SECRET_KEY_GEN,
                capabilities=MechanismFlag(0),
                template=template,
            )
        )
        for name in HASHES:
            try:
                wrap_to_rsa(made[0], made[1], name)
            except PKCS11Error as exc:
                if classify(exc) is not Fault.CALLER:
                    raise
            else:
                usable.add(name)
    finally:
        for each in made:
            with suppress(PKCS11Error):  # session objects: they end with their session anyway
                each.destroy()
    return frozenset(usable)


def _template(modulus: int, exponent: int, label: str, *, private: bool) -> templates.Template:
    return templates.packed(
        {
            Attribute.CLASS: ObjectClass.PUBLIC_KEY,
            Attribute.KEY_TYPE: KeyType.RSA,
            Attribute.ID: secrets.token_bytes(ID_LENGTH),
            Attribute.LABEL: templates.check_label(label),
            Attribute.TOKEN: False,
            Attribute.PRIVATE: private,
            Attribute.ENCRYPT: False,
            Attribute.VERIFY: False,
            Attribute.WRAP: True,
            Attribute.MODULUS: _big_endian(modulus),
            Attribute.PUBLIC_EXPONENT: _big_endian(exponent),
        }
    )


def _big_endian(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
