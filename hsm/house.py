"""Which keys are the gateway's own, in which versions? They are found by their labels, never by a database.

A label is `countersign-<name>-<version>`. A version is never replaced: a new one is made beside it, and the old one
is destroyed when nothing rests on it any more.
"""

from __future__ import annotations

import re
import secrets

from pkcs11 import Session

from hsm import derivation, ecdsa, templates, wrapping
from hsm.connection import Connection
from hsm.desk import Desk
from hsm.errors import DeviceRefused, HouseKeyMissing, KeyMissing
from hsm.guard import Guard
from hsm.handles import find_by_label, find_labelled
from hsm.keys import ID_LENGTH, KeyKind, KeyRef

_NAME = re.compile(r"[a-z]{1,32}")


class House(Desk):
    """The part of a device that is about the gateway's own keys."""

    def __init__(self, guard: Guard, *, private_public_keys: bool) -> None:
        super().__init__(guard)
        self._guard = guard
        self._private_public_keys = private_public_keys

    def house_key(self, name: str, version: int = 1) -> KeyRef:
        """Return the gateway's own secret key of this name. Raises HouseKeyMissing."""
        return self._house(KeyKind.SECRET, name, version)

    def house_pair(self, name: str, version: int = 1) -> tuple[KeyRef, KeyRef]:
        """Return the gateway's own pair of this name as (private, public). Raises HouseKeyMissing."""
        return self._house(KeyKind.PRIVATE, name, version), self._house(KeyKind.PUBLIC, name, version)

    def create_house_key(self, name: str, version: int = 1) -> bool:
        """Generate the secret key of this name, never extractable. False if it was there already."""
        label = _house_label(name, version)

        def create(_: Connection, session: Session) -> bool:
            if find_by_label(session, KeyKind.SECRET, label):
                return False
            new_id = secrets.token_bytes(ID_LENGTH)
            template = templates.hmac_key(new_id, label, stored=True, extractable=False, modifiable=False)
            wrapping.generate(session, template)
            return True

        return self._guard.change(create, "create")

    def create_master(self, version: int = 1) -> bool:
        """Generate the master of this version, from which keys are derived. False if it was there already."""

        def create(_: Connection, session: Session) -> bool:
            if find_by_label(session, KeyKind.SECRET, derivation.master_label(version)):
                return False
            derivation.generate_master(session, version)
            return True

        return self._guard.change(create, "create")

    def create_house_pair(self, name: str, version: int = 1) -> bool:
        """Generate the P-256 pair of this name. False if it was there already."""
        label = _house_label(name, version)

        def create(_: Connection, session: Session) -> bool:
            if find_by_label(session, KeyKind.PRIVATE, label):
                return False
            ecdsa.generate_pair(session, label, private=self._private_public_keys)
            return True

        return self._guard.change(create, "create")

    def find_house_key(self, name: str, version: int) -> KeyRef | None:
        """Return the secret key of this name and version, or None if the token shows none.

        While the login is lost it shows none either: believe only that a key is there. Raises DuplicateKey.
        """
        label = _house_label(name, version)

        def find(_: Connection, session: Session) -> KeyRef | None:
            found = find_by_label(session, KeyKind.SECRET, label)
            return (
                find_labelled(session, KeyKind.SECRET, label) if len(found) > 1 else next(iter(found), None)
            )

        return self._guard.use(find, "find")

    def destroy_house_key(self, name: str, version: int) -> bool:
        """Destroy the secret key of this name and version, for ever. False if it was not there."""
        label = _house_label(name, version)

        def destroy(connection: Connection, session: Session) -> bool:
            found = find_by_label(session, KeyKind.SECRET, label)
            for ref in found:
                connection.handles.drop(ref)
                wrapping.destroy_all(session, ref)
            return bool(found)

        return self._guard.change(destroy, "destroy")

    def _house(self, kind: KeyKind, name: str, version: int) -> KeyRef:
        label = _house_label(name, version)
        try:
            return self._guard.use(lambda _, session: find_labelled(session, kind, label), "find")
        except KeyMissing:
            text = f"The token has no {kind} key {label!r}."
            raise HouseKeyMissing(text, "Create it with the setup command, or restore it.") from None


def _house_label(name: str, version: int) -> str:
    if not _NAME.fullmatch(name) or version < 1:
        raise DeviceRefused("a house key has a name of small letters and a version from 1")
    return f"countersign-{name}-{version}"
