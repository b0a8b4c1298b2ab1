"""How is a key handed out once, wrapped, while a copy stays on the token that can never be handed out again?

Modules differ in what they let one change about a key, so there is a chain of three ways, best first. Which
one works, and that it is safe, `hsm/conformance.py` finds out at start with a throw-away key.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, Session
from pkcs11.exceptions import PKCS11Error

from hsm import templates
from hsm.cryptoki import DirectCalls
from hsm.errors import DeviceError, DeviceRefused
from hsm.handles import find_by_id
from hsm.keys import ID_LENGTH, KeyKind, KeyRef
from hsm.plainkey import PlainKey
from hsm.rsawrap import RsaCover, import_rsa, wrap_to_rsa
from hsm.watch import beat

KEK_LENGTH = 32  # bytes
Undo = Callable[[Sequence[KeyRef], BaseException], None]
# What keys are wrapped under: an AES key in plain, or an RSA key of whoever gets them.
Cover = bytes | RsaCover
WrapOut = Callable[[Any], bytes]
_COVER_LABEL = "countersign-cover"
_NO_USES = MechanismFlag(0)  # the templates say all of it
_SEALED = {
    Attribute.EXTRACTABLE: False,
    Attribute.SENSITIVE: True,
    Attribute.TOKEN: True,
    Attribute.PRIVATE: True,
}


class NotUndone(Exception):
    """An operation failed, and what it had made may still be on the token; its cause says why it failed.

    It must not be tried again: the same names would be given twice.
    """


class Strategy(StrEnum):
    """The ways of keeping a copy, best first."""

    COPY_DOWN = "copy-down"  # wrap a session key, store a non-extractable copy of it
    FLIP = "flip"  # wrap a stored key, then take its extractability away
    UNWRAP_AGAIN = "unwrap-again"  # wrap a session key a second time and unwrap that as a non-extractable one


@dataclass(frozen=True, slots=True)
class _Delivery:
    """What one delivery works with. `made` are session objects, to be destroyed at its end."""

    session: Session
    wrap_out: WrapOut
    label: str
    made: list[Any]
    direct: DirectCalls | None = None  # None: keys are made through python-pkcs11


def issue(
    session: Session,
    cover: Cover,
    ids: Sequence[bytes],
    label: str,
    strategy: Strategy,
    undo: Undo,
    direct: DirectCalls | None = None,
) -> list[bytes]:
    """Generate a stored HMAC key for each id and return them wrapped under `cover`.

    That is an AES key (32 bytes; RFC 3394, 40 bytes for each key) or an RSA key (OAEP, one block for each key).
    All or nothing: on any failure `undo` destroys every object that may have been stored. The caller holds the
    lock alone. Under an AES key, copy-down is done by `direct` calls where there are any.
    """
    _check(ids)
    made: list[Any] = []
    begun: list[KeyRef] = []
    try:
        usable = None if isinstance(cover, RsaCover) or strategy is not Strategy.COPY_DOWN else direct
        delivery = _Delivery(session, open_cover(session, cover, made, usable), label, made, usable)
        wrapped = []
        for id in ids:  # noqa: A001
            begun.append(KeyRef(KeyKind.SECRET, id))
            wrapped.append(_WAYS[strategy](delivery, id))
            beat()
    except BaseException as exc:
        undo(begun, exc)
        raise
    else:
        return wrapped
    finally:
        for each in made:
            with suppress(PKCS11Error):  # session objects: they end with their session anyway
                each.destroy()


def open_cover(session: Session, cover: Cover, made: list[Any], direct: DirectCalls | None = None) -> WrapOut:
    """Import what keys are wrapped under, note the session object in `made`, and return how it wraps."""
    if isinstance(cover, RsaCover):
        name, rsa = cover.hash_name, import_rsa(session, cover.modulus, cover.exponent, _COVER_LABEL)
        made.append(rsa)
        return lambda key: wrap_to_rsa(rsa, key, name)
    if len(cover) != KEK_LENGTH:
        raise DeviceRefused(f"a wrapping key has {KEK_LENGTH} bytes")
    kek = import_kek(session, cover) if direct is None else PlainKey.import_kek(direct, session, cover)
    made.append(kek)
    return lambda key: wrap(kek, key)


def import_kek(session: Session, kek: bytes, uses: Sequence[Attribute] = (Attribute.WRAP,)) -> Any:
    """Create the AES session key that wraps. Its value is no secret from us: the caller has it anyway."""
    template = templates.aes_key(secrets.token_bytes(ID_LENGTH), uses)
    return session.create_object(templates.packed(template | {Attribute.VALUE: kek}))


def wrap(wrapping: Any, key: Any) -> bytes:
    """Wrap `key` by AES key wrap (RFC 3394); no other mechanism means the same in every module."""
    return bytes(wrapping.wrap_key(key, mechanism=Mechanism.AES_KEY_WRAP))


def generate(session: Session, template: templates.Template) -> Any:
    """Generate a 32-byte HMAC key from a full template."""
    return session.generate_key(
        KeyType.GENERIC_SECRET,
        templates.SECRET_LENGTH * 8,
        mechanism=Mechanism.GENERIC_SECRET_KEY_GEN,
        capabilities=_NO_USES,
        template=template,
    )


def destroy_all(session: Session, ref: KeyRef) -> int:
    """Destroy every object with this class and CKA_ID; returns how many there were."""
    found = find_by_id(session, ref)
    for each in found:
        each.destroy()
    return len(found)


def _copy_down(delivery: _Delivery, id: bytes) -> bytes:  # noqa: A002
    key = _extractable(delivery, id)
    wrapped = delivery.wrap_out(key)
    is_plain = isinstance(key, PlainKey)
    _require_sealed(
        key.keep(id, delivery.label) if is_plain else key.copy(templates.kept_copy(id, delivery.label))
    )
    return wrapped


def _flip(delivery: _Delivery, id: bytes) -> bytes:  # noqa: A002
    # COPYABLE is false because a copy made before the flip would stay extractable.
    template = templates.hmac_key(id, delivery.label, stored=True, extractable=True, modifiable=True)
    key = generate(delivery.session, templates.packed(template | {Attribute.COPYABLE: False}))
    wrapped = delivery.wrap_out(key)
    key[Attribute.EXTRACTABLE] = False
    _require_sealed(key)
    return wrapped


def _unwrap_again(delivery: _Delivery, id: bytes) -> bytes:  # noqa: A002
    inner = delivery.session.generate_key(
        KeyType.AES,
        KEK_LENGTH * 8,
        mechanism=Mechanism.AES_KEY_GEN,
        capabilities=_NO_USES,
        template=templates.aes_key(secrets.token_bytes(ID_LENGTH), (Attribute.WRAP, Attribute.UNWRAP)),
    )
    delivery.made.append(inner)
    key = _extractable(delivery, id)
    wrapped = delivery.wrap_out(key)
    kept = inner.unwrap_key(  # type: ignore[attr-defined]  # the class is made from the key's uses
        ObjectClass.SECRET_KEY,
        KeyType.GENERIC_SECRET,
        wrap(inner, key),
        mechanism=Mechanism.AES_KEY_WRAP,
        capabilities=_NO_USES,
        template=templates.hmac_key(id, delivery.label, stored=True, extractable=False, modifiable=False),
    )
    _require_sealed(kept)
    return wrapped


_WAYS = {Strategy.COPY_DOWN: _copy_down, Strategy.FLIP: _flip, Strategy.UNWRAP_AGAIN: _unwrap_again}


def _extractable(delivery: _Delivery, id: bytes) -> Any:  # noqa: A002
    if delivery.direct is not None:
        key: Any = PlainKey.generate(delivery.direct, delivery.session, id, delivery.label)
    else:
        template = templates.hmac_key(id, delivery.label, stored=False, extractable=True, modifiable=True)
        key = generate(delivery.session, template)
    delivery.made.append(key)
    return key


def _require_sealed(kept: Any) -> None:
    values = kept.get_attributes(list(_SEALED))
    wrong = [attribute.name for attribute, value in _SEALED.items() if values.get(attribute) is not value]
    if wrong:
        raise DeviceError(f"the module kept a key with a wrong {', '.join(wrong)}")


def _check(ids: Sequence[bytes]) -> None:
    if not ids or len(set(ids)) != len(ids):
        raise DeviceRefused("the ids of the keys to issue are distinct, and there is at least one")
    for each in ids:
        templates.check_id(each)


def undo_in(session: Session, is_alive: Callable[[], bool]) -> Undo:
    """Return how to destroy, in `session`, what a failed operation may have stored.

    It raises NotUndone from the cause if that fails as well, or if `is_alive` says that the login is gone: then
    objects are invisible, and what is not found may still be there.
    """

    def undo(refs: Sequence[KeyRef], cause: BaseException) -> None:
        try:
            for each in refs:
                destroy_all(session, each)
            if not refs or is_alive():
                return
        except PKCS11Error:
            pass
        left = ", ".join(each.uri() for each in refs)
        raise NotUndone(f"may be left on the token: {left}") from cause

    return undo
