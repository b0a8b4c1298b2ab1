"""How does the HSM make keys that are not on the token: derived from a master, or public ones that a row carries?

A derived key is the encryption of a 32-byte context under an AES master that can do nothing else
(CKM_AES_ECB_ENCRYPT_DATA). What is used stays in the HSM and cannot be wrapped; for a delivery a second, extractable
copy lives as long as it takes to wrap it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, Session
from pkcs11.exceptions import PKCS11Error

from hsm import ecdsa, fleeting, rawkey, templates
from hsm.connection import Connection
from hsm.cryptoki import DirectCalls
from hsm.errors import DeviceRefused, SelfTestFailed
from hsm.faults import Fault, classify
from hsm.handles import find_labelled
from hsm.keys import CONTEXT_LENGTH, ID_LENGTH, DerivedRef, FleetingRef, KeyKind, KeyRef
from hsm.usage import with_handle
from hsm.wrapping import KEK_LENGTH, Cover, WrapOut, import_kek, open_cover, wrap

MASTER = "master"
_MECHANISM = Mechanism.AES_ECB_ENCRYPT_DATA
_AES_LENGTH = 32  # bytes
_QUESTION = b"countersign derivation"


def master_label(version: int) -> str:
    """Return the CKA_LABEL of a master."""
    return f"countersign-{MASTER}-{version}"


def generate_master(session: Session, version: int) -> KeyRef:
    """Generate the stored master of this version. The caller holds the lock alone."""
    ref = KeyRef(KeyKind.SECRET, secrets.token_bytes(ID_LENGTH))
    session.generate_key(
        KeyType.AES,
        _AES_LENGTH * 8,
        mechanism=Mechanism.AES_KEY_GEN,
        capabilities=MechanismFlag(0),
        template=templates.master_key(ref.id, master_label(version), stored=True),
    )
    return ref


def made(connection: Connection, session: Session, ref: FleetingRef) -> int:
    """Return the handle of a fleeting key, making it if need be. The caller holds the lock alone.

    Raises NotFound if the token has no such master, DeviceRefused for a point that is none.
    """
    if isinstance(ref, DerivedRef):
        return fleeting.make(connection, ref, lambda: _derive(connection, session, ref, extractable=False))
    return fleeting.make(connection, ref, lambda: _import(connection, ref.point))


def issue(connection: Connection, session: Session, cover: Cover, refs: Sequence[DerivedRef]) -> list[bytes]:
    """Derive a copy of each key that can be wrapped, and return them wrapped under `cover`, as `wrapping.issue` does.

    Nothing is stored. The caller holds the lock alone.
    """
    covers: list[Any] = []
    try:
        wrap_out = open_cover(session, cover, covers, _direct(connection))
        return [_wrapped(connection, session, wrap_out, ref) for ref in refs]
    finally:
        for each in covers:
            with suppress(PKCS11Error):  # a session object: it ends with its session anyway
                each.destroy()


def _wrapped(connection: Connection, session: Session, wrap_out: WrapOut, ref: DerivedRef) -> bytes:
    handle = _derive(connection, session, ref, extractable=True)
    try:
        return wrap_out(rawkey.secret(session, handle))
    finally:
        fleeting.destroy(connection, handle)


def _derive(connection: Connection, session: Session, ref: DerivedRef, *, extractable: bool) -> int:
    direct = _direct(connection)
    master = connection.fleeting.masters.get(ref.master)
    if master is None:
        master = find_labelled(session, KeyKind.SECRET, master_label(ref.master))
        connection.fleeting.masters[ref.master] = master
    number, template = _number(connection.login_session), _template(extractable=extractable)
    return with_handle(
        connection,
        session,
        master,
        lambda handle: direct.derive(number, handle, _MECHANISM, ref.context, template),
    )


def _import(connection: Connection, point: bytes) -> int:
    template = ecdsa.public_template(
        secrets.token_bytes(ID_LENGTH),
        ecdsa.check_point(point),
        "countersign-point",
        stored=False,
        private=connection.private_public_keys,
    )
    return _direct(connection).create(_number(connection.login_session), templates.raw(template))


def _direct(connection: Connection) -> DirectCalls:
    direct = connection.module.direct
    if direct is None:
        raise DeviceRefused("this module is not called directly, and makes no keys that are not on the token")
    return direct


@cache
def _template(*, extractable: bool) -> dict[int, bytes]:
    return templates.raw(templates.derived_key(extractable=extractable))


def _number(session: Session) -> int:
    return int(session.handle)  # type: ignore[attr-defined]  # the type stub leaves it out


def can_derive(session: Session, direct: DirectCalls | None) -> bool:
    """Try derivation with a master of known value: the known answer must come out, and the key must stay inside.

    False if the module does not derive. Raises SelfTestFailed if it derives wrongly. The lock is held alone.
    """
    if direct is None:
        return False
    made: list[int] = []
    try:
        failure = _try(session, direct, made)
    except PKCS11Error as exc:
        if classify(exc) is not Fault.CALLER:
            raise
        return False
    finally:
        for handle in made:
            with suppress(PKCS11Error):
                direct.destroy(_number(session), handle)
    if failure:
        mend = "Do not use this token; check the module's version."
        raise SelfTestFailed(f"The token derives keys wrongly: {failure}.", mend)
    return True


def _try(session: Session, direct: DirectCalls, made: list[int]) -> str | None:
    value, context, kek = (secrets.token_bytes(size) for size in (_AES_LENGTH, CONTEXT_LENGTH, KEK_LENGTH))
    template = templates.master_key(secrets.token_bytes(ID_LENGTH), "countersign-probe", stored=False)
    known = templates.packed(template | {Attribute.VALUE: value})
    number = _number(session)
    made.append(direct.create(number, templates.raw(known)))
    kept, copy = (
        direct.derive(number, made[0], _MECHANISM, context, _template(extractable=extractable))
        for extractable in (False, True)
    )
    made += [kept, copy]
    secret = Cipher(algorithms.AES(value), modes.ECB()).encryptor().update(context)  # noqa: S305  # not for secrecy
    if rawkey.hmac_sha256(direct, session, kept, _QUESTION) != hmac.digest(secret, _QUESTION, hashlib.sha256):
        return "not the encryption of the context"
    wrapping = import_kek(session, kek)
    made.append(int(wrapping.handle))
    try:
        if aes_key_unwrap(kek, wrap(wrapping, rawkey.secret(session, copy))) != secret:
            return "the delivered copy is another key"
    except InvalidUnwrap:
        return "the wrapping is not RFC 3394"
    return None if _stays_inside(session, wrapping, kept) else "the kept key can be wrapped"


def _stays_inside(session: Session, wrapping: Any, kept: int) -> bool:
    try:
        wrap(wrapping, rawkey.secret(session, kept))
    except PKCS11Error as exc:
        if classify(exc) is not Fault.CALLER:
            raise
        return True
    return False
