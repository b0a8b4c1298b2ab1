"""Which attributes does each kind of object get?

Always the whole list: python-pkcs11 sets some defaults and modules set others (CKA_EXTRACTABLE is true by
default in some). Every template passes through `packed`, which converts each value in Python first, because
python-pkcs11 frees uninitialised pointers when a value in the middle of a template cannot be converted.
"""

from __future__ import annotations

import re
import secrets
import struct
from collections.abc import Sequence
from typing import Any

from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.attributes import AttributeMapper

from hsm.errors import DeviceRefused
from hsm.keys import ID_LENGTH, KeyKind

Template = dict[Attribute, Any]

P256_PARAMS = bytes.fromhex("06082a8648ce3d030107")  # DER of the object identifier 1.2.840.10045.3.1.7
CLASS_OF = {
    KeyKind.SECRET: ObjectClass.SECRET_KEY,
    KeyKind.PUBLIC: ObjectClass.PUBLIC_KEY,
    KeyKind.PRIVATE: ObjectClass.PRIVATE_KEY,
}
SECRET_LENGTH = 32  # bytes of every HMAC key

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_USES = (
    Attribute.ENCRYPT,
    Attribute.DECRYPT,
    Attribute.SIGN,
    Attribute.VERIFY,
    Attribute.WRAP,
    Attribute.UNWRAP,
    Attribute.DERIVE,
)
_PUBLIC_USES = (Attribute.ENCRYPT, Attribute.VERIFY, Attribute.WRAP)
_PRIVATE_USES = (Attribute.DECRYPT, Attribute.SIGN, Attribute.UNWRAP, Attribute.DERIVE)


def _mapper() -> AttributeMapper:
    mapper = AttributeMapper()
    mapper.register_handler(
        Attribute.ALLOWED_MECHANISMS,
        lambda mechanisms: b"".join(struct.pack("L", int(each)) for each in mechanisms),
        lambda raw: [each for (each,) in struct.iter_unpack("L", raw)],
    )
    return mapper


MAPPER = _mapper()


def packed(template: Template) -> Template:
    """Return `template` if every value can be packed. Raises DeviceRefused, before C sees anything."""
    raw(template)
    return template


def raw(template: Template) -> dict[int, bytes]:
    """Return a template as C has it, for the calls that we make ourselves. Raises DeviceRefused."""
    return {int(name): _packed(name, value) for name, value in template.items()}


def _packed(attribute: Attribute, value: object) -> bytes:
    _check(attribute, value)
    try:
        return bytes(MAPPER.pack_attribute(attribute, value))
    except Exception as exc:  # whatever it is, it must not be raised inside python-pkcs11
        raise DeviceRefused(f"the value of {attribute.name} cannot be packed") from exc


def check_label(label: str) -> str:
    """Return `label` if it is 1 to 64 of a-z, 0-9 and inner hyphens. Raises DeviceRefused."""
    if not isinstance(label, str) or not _LABEL.fullmatch(label):
        raise DeviceRefused("a label has 1 to 64 characters of a-z, 0-9 and inner hyphens")
    return label


def check_id(id: bytes) -> bytes:  # noqa: A002  # the attribute is called so
    """Return `id` if it is 16 bytes. Raises DeviceRefused."""
    if not isinstance(id, bytes) or len(id) != ID_LENGTH:
        raise DeviceRefused(f"the id of a key has {ID_LENGTH} bytes")
    return id


def by_id(kind: KeyKind, id: bytes) -> Template:  # noqa: A002
    """Search for the object of `kind` with this CKA_ID."""
    return packed({Attribute.CLASS: CLASS_OF[kind], Attribute.ID: id})


def by_label(kind: KeyKind, label: str) -> Template:
    """Search for the object of `kind` with this CKA_LABEL."""
    return packed({Attribute.CLASS: CLASS_OF[kind], Attribute.LABEL: label})


def all_of(kind: KeyKind) -> Template:
    """Search for every object of `kind`."""
    return packed({Attribute.CLASS: CLASS_OF[kind]})


def hmac_key(id: bytes, label: str, *, stored: bool, extractable: bool, modifiable: bool) -> Template:  # noqa: A002
    """Template of a 32-byte key that can compute HMAC-SHA-256 and do nothing else."""
    return packed(
        _secret(KeyType.GENERIC_SECRET, id, label, [Attribute.SIGN], [Mechanism.SHA256_HMAC])
        | {
            Attribute.TOKEN: stored,
            Attribute.EXTRACTABLE: extractable,
            Attribute.MODIFIABLE: modifiable,
        }
    )


def kept_copy(id: bytes, label: str) -> Template:  # noqa: A002
    """Template of C_CopyObject: what the stored copy has otherwise than the session key it comes from.

    CKA_MODIFIABLE stands last: SoftHSM sets one attribute after the other and then refuses the rest.
    """
    return packed(
        {
            Attribute.TOKEN: True,
            Attribute.ID: id,
            Attribute.LABEL: label,
            Attribute.EXTRACTABLE: False,
            Attribute.MODIFIABLE: False,
        }
    )


def aes_key(id: bytes, uses: Sequence[Attribute]) -> Template:  # noqa: A002
    """Template of an AES session key that only wraps or unwraps by RFC 3394."""
    return packed(_secret(KeyType.AES, id, "countersign-kek", uses, [Mechanism.AES_KEY_WRAP]) | _EPHEMERAL)


def master_key(id: bytes, label: str, *, stored: bool) -> Template:  # noqa: A002
    """Template of an AES key from which others are derived, and that can do nothing else, not even be copied.

    Not modifiable: whoever has the PIN could switch CKA_ENCRYPT on, and encrypting a context is reading its key.
    """
    return packed(
        _secret(KeyType.AES, id, label, [Attribute.DERIVE], [Mechanism.AES_ECB_ENCRYPT_DATA])
        | {
            Attribute.TOKEN: stored,
            Attribute.EXTRACTABLE: False,
            Attribute.MODIFIABLE: False,
            Attribute.COPYABLE: False,
        }
    )


def derived_key(*, extractable: bool) -> Template:
    """Template of a session key of 32 bytes that is derived and computes HMAC-SHA-256, nothing else."""
    key_id = secrets.token_bytes(ID_LENGTH)  # says nothing, and no search for another key finds it
    label = "countersign-derived"
    template = hmac_key(key_id, label, stored=False, extractable=extractable, modifiable=False)
    del template[Attribute.MODIFIABLE]  # stands last, as in a kept copy
    return packed(template | {Attribute.VALUE_LEN: SECRET_LENGTH, Attribute.MODIFIABLE: False})


def known_secret(id: bytes, value: bytes) -> Template:  # noqa: A002
    """Template of a session HMAC key with a published value, for the self-test."""
    secret = _secret(
        KeyType.GENERIC_SECRET, id, "countersign-test", [Attribute.SIGN], [Mechanism.SHA256_HMAC]
    )
    return packed(secret | _EPHEMERAL | {Attribute.VALUE: value})


def public_key(id: bytes, label: str, *, stored: bool, private: bool) -> Template:  # noqa: A002
    """Template of a P-256 key that verifies; `private` is CKA_PRIVATE, which modules want differently."""
    return packed(
        {
            Attribute.CLASS: ObjectClass.PUBLIC_KEY,
            Attribute.KEY_TYPE: KeyType.EC,
            Attribute.EC_PARAMS: P256_PARAMS,
            Attribute.ID: check_id(id),
            Attribute.LABEL: check_label(label),
            Attribute.TOKEN: stored,
            Attribute.PRIVATE: private,
            Attribute.MODIFIABLE: False,
            **{use: use is Attribute.VERIFY for use in _PUBLIC_USES},
        }
    )


def private_key(id: bytes, label: str, *, stored: bool) -> Template:  # noqa: A002
    """Template of a P-256 key that signs and never leaves the device."""
    return packed(
        {
            Attribute.CLASS: ObjectClass.PRIVATE_KEY,
            Attribute.KEY_TYPE: KeyType.EC,
            Attribute.ID: check_id(id),
            Attribute.LABEL: check_label(label),
            Attribute.TOKEN: stored,
            Attribute.PRIVATE: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.MODIFIABLE: False,
            **{use: use is Attribute.SIGN for use in _PRIVATE_USES},
        }
    )


_EPHEMERAL: Template = {
    Attribute.TOKEN: False,
    Attribute.EXTRACTABLE: False,
    Attribute.MODIFIABLE: False,
}


def _secret(
    key_type: KeyType,
    id: bytes,  # noqa: A002
    label: str,
    uses: Sequence[Attribute],
    mechanisms: Sequence[Mechanism],
) -> Template:
    return {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: key_type,
        Attribute.ID: check_id(id),
        Attribute.LABEL: check_label(label),
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.ALLOWED_MECHANISMS: mechanisms,
        **{use: use in uses for use in _USES},
    }


def _check(attribute: Attribute, value: object) -> None:
    if attribute is Attribute.ID:
        check_id(value)  # type: ignore[arg-type]
    elif attribute is Attribute.LABEL:
        check_label(value)  # type: ignore[arg-type]
