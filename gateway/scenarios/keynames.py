"""Which key does a row name: one on the token, or one that the HSM makes when it is needed?

Both kinds live side by side. What a name says is believed because the HSM vouches for the row it stands in.
"""

import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from gateway.rules.keyset import Keyset, spent_keys
from gateway.rules.policy import Residency
from gateway.scenarios.context import Context
from gateway.wire import keyname
from gateway.wire.errors import WireError
from gateway.wire.keyname import DerivedName
from hsm.errors import DeliveryRefused, DeviceError, InvalidUri, KeyMissing
from hsm.keys import DerivedRef, FleetingRef, KeyKind, KeyRef, PointRef, PublicRef, SecretRef

_ON_TOKEN = "pkcs11:"  # noqa: S105  # a scheme
_KPUBLIC_LABEL = "countersign-user-kpublic"


def new_secret(ctx: Context, residency: Residency) -> str:
    """Return the name of a secret key that is about to be made: a derived one is of the newest master."""
    if residency is Residency.DERIVED:
        if ctx.keys.master is None:
            raise DeliveryRefused("the token has no master, so no key can be derived")
        return DerivedName(ctx.keys.master.newest, secrets.token_bytes(keyname.SALT_LENGTH)).text()
    return KeyRef(KeyKind.SECRET, secrets.token_bytes(16)).uri()


def new_public(keyset: Keyset, point: bytes) -> str:
    """Return the name of a public key that is about to be registered: it is kept as the keyset's other keys are."""
    if on_token([keyset.kauth]):
        return KeyRef(KeyKind.PUBLIC, secrets.token_bytes(16)).uri()
    return keyname.point_name(point)


def on_token(names: Iterable[str]) -> list[str]:
    """Return the names of those that are objects on the token; the others have nothing there to be destroyed."""
    return [name for name in names if name.startswith(_ON_TOKEN)]


def khmac_of(keyset: Keyset) -> SecretRef:
    """Return Khmac. Raises InvalidUri, and KeyMissing if it was forgotten."""
    return secret_ref(keyset.khmac, "khmac", keyset.application_id, keyset.user_id, keyset.id)


def kauth_of(keyset: Keyset) -> SecretRef:
    """Return Kauth. Raises InvalidUri, and KeyMissing if it was forgotten."""
    return secret_ref(keyset.kauth, "kauth", keyset.application_id, keyset.user_id, keyset.id)


def secret_ref(name: str, purpose: str, application: str, user: str, keyset: str) -> SecretRef:
    """Return the secret key of this name, in the place it stands in: elsewhere the same name is another key."""
    if name.startswith(_ON_TOKEN):
        return KeyRef.parse(name)
    if keyname.is_forgotten(name):
        raise KeyMissing(f"the key of {keyset} was forgotten")
    try:
        read = DerivedName.read(name)
    except WireError:
        raise _unreadable() from None
    return DerivedRef(read.master, read.context(purpose, application, user, keyset))


def public_ref(name: str) -> PublicRef:
    """Return the public key of this name. Raises InvalidUri."""
    if name.startswith(_ON_TOKEN):
        return KeyRef.parse(name)
    try:
        return PointRef(keyname.read_point(name))
    except WireError:
        raise _unreadable() from None


def fleeting_of(keyset: Keyset) -> list[FleetingRef]:
    """Return the keys of a keyset that are not on the token, as far as the row names any; nobody vouched for it yet."""
    if _are_on_token(keyset):
        return []
    refs: list[SecretRef | PublicRef] = []
    for read in (
        lambda: khmac_of(keyset),
        lambda: kauth_of(keyset),
        lambda: public_ref(keyset.kpublic or ""),
    ):
        # Nobody vouched for the row: it may say anything.
        with suppress(DeviceError, AttributeError, TypeError, UnicodeError, ValueError):
            refs.append(read())
    return [ref for ref in refs if not isinstance(ref, KeyRef)]


def _are_on_token(keyset: Keyset) -> bool:
    names = (keyset.khmac, keyset.kauth, keyset.kpublic)
    return all(isinstance(name, str) and name.startswith(_ON_TOKEN) for name in names)


def keep_public(ctx: Context, name: str, point: bytes) -> None:
    """Put a public key onto the token, if that is where it is kept. Talks to the device."""
    ref = public_ref(name)
    if isinstance(ref, KeyRef):
        ctx.device.import_public(ref.id, point, _KPUBLIC_LABEL)


def without_spent(ctx: Context, ended: Keyset, *, answered: bool) -> Keyset:
    """Return an ended keyset without the salts of the derived keys that nobody needs any more.

    Keys on the token are destroyed by the sweep, and keep their names.
    """
    spent = spent_keys(ended, answered=answered)
    found = {"khmac": ended.khmac, "kauth": ended.kauth}
    salted = {name: text for name, text in found.items() if text in spent and keyname.is_salted(text)}
    if not salted:
        return ended
    refs = [
        secret_ref(text, name, ended.application_id, ended.user_id, ended.id) for name, text in salted.items()
    ]
    with suppress(DeviceError):  # what the HSM holds gives way sooner or later anyway
        ctx.device.forget([ref for ref in refs if isinstance(ref, DerivedRef)])
    forgotten: dict[str, Any] = {
        name: DerivedName.read(text).forgotten(ended.id) for name, text in salted.items()
    }
    return replace(ended, **forgotten)


def _unreadable() -> InvalidUri:
    return InvalidUri("The row does not name a key.", "Restore the row.")
