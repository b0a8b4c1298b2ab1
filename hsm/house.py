"""Which keys are the gateway's own, in which versions? They are found by their labels, never by a database.

A label is `countersign-<name>-<version>`. A version is never replaced: a new one is made beside it, and the old one
is destroyed when nothing rests on it any more.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pkcs11 import Session

from hsm import derivation, ecdsa, sighting, templates, wrapping
from hsm.connection import Connection
from hsm.desk import Desk
from hsm.errors import (
    DeviceRefused,
    DeviceUnavailable,
    DuplicateKey,
    HouseKeyDoubled,
    HouseKeyMissing,
    KeyMissing,
)
from hsm.guard import Guard
from hsm.handles import find_by_label, find_labelled
from hsm.keys import ID_LENGTH, KeyKind, KeyRef

_NAME = re.compile(r"[a-z]{1,32}")
_TRIES = 20
_YIELD_SECONDS = (0.3, 1.5)  # long against the moments between making, looking and destroying
_LOOKS = 4
_LOOK_SECONDS = 0.5


class House(Desk):
    """The part of a device that is about the gateway's own keys."""

    def __init__(self, guard: Guard, *, private_public_keys: bool, pin_file: Path) -> None:
        super().__init__(guard)
        self._guard = guard
        self._pin_file = pin_file
        self._private_public_keys = private_public_keys

    def house_key(self, name: str, version: int = 1) -> KeyRef:
        """Return the gateway's own secret key of this name. Raises HouseKeyMissing, HouseKeyDoubled."""
        return self._house(KeyKind.SECRET, name, version)

    def house_pair(self, name: str, version: int = 1) -> tuple[KeyRef, KeyRef]:
        """Return the gateway's own pair of this name as (private, public). Raises HouseKeyMissing, HouseKeyDoubled."""
        return self._house(KeyKind.PRIVATE, name, version), self._house(KeyKind.PUBLIC, name, version)

    def create_house_key(self, name: str, version: int = 1) -> bool:
        """Generate the secret key of this name, never extractable. False if it was there already."""
        label = _house_label(name, version)

        def make(session: Session) -> list[KeyRef]:
            ref = KeyRef(KeyKind.SECRET, secrets.token_bytes(ID_LENGTH))
            template = templates.hmac_key(ref.id, label, stored=True, extractable=False, modifiable=False)
            wrapping.generate(session, template)
            return [ref]

        return self._create(KeyKind.SECRET, label, make)

    def create_master(self, version: int = 1) -> bool:
        """Generate the master of this version, from which keys are derived. False if it was there already."""

        def make(session: Session) -> list[KeyRef]:
            return [derivation.generate_master(session, version)]

        return self._create(KeyKind.SECRET, derivation.master_label(version), make)

    def create_house_pair(self, name: str, version: int = 1) -> bool:
        """Generate the P-256 pair of this name. False if it was there already."""
        label = _house_label(name, version)

        def make(session: Session) -> list[KeyRef]:
            return list(ecdsa.generate_pair(session, label, private=self._private_public_keys))

        return self._create(KeyKind.PRIVATE, label, make)

    def _create(self, kind: KeyKind, label: str, make: Callable[[Session], list[KeyRef]]) -> bool:
        """Make what a label names unless it is there; False if it was.

        A token knows no names that are taken, and other processes may look, and make, at the same moment. So whoever
        made a key looks again, and destroys it if it is not alone: of two, at most one finds itself alone. Not so with
        SoftHSM, which overlooks what another process made right before it made something itself; so processes of one
        machine take turns.
        """

        def create(_: Connection, session: Session) -> bool | None:
            if find_by_label(session, kind, label):
                return False
            made = make(session)
            if len(find_by_label(session, kind, label)) == 1:
                return True
            for ref in made:
                wrapping.destroy_all(session, ref)
            return None

        for _ in range(_TRIES):
            with sighting.in_turn(self._pin_file, self._guard.limits.wait_seconds):
                made = self._guard.change(create, "create")
            if made is not None:
                return made
            time.sleep(secrets.SystemRandom().uniform(*_YIELD_SECONDS))
        raise DeviceUnavailable(f"others make keys {label!r} all the time")

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
            return self._find_one(kind, label)
        except KeyMissing:
            text = f"The token has no {kind} key {label!r}."
            raise HouseKeyMissing(text, "Create it with `countersign init`, or restore it.") from None
        except DuplicateKey:
            text = f"The token has more than one key {label!r} ({kind})."
            mend = "Nobody can say which is right: restore the token from its backup, or use an empty one if it is new."
            raise HouseKeyDoubled(text, mend) from None

    def _find_one(self, kind: KeyKind, label: str) -> KeyRef:
        """Find it; where there are several, give a maker that is not alone time to destroy what it made."""
        for _ in range(_LOOKS):
            with suppress(DuplicateKey):
                return self._guard.use(lambda _, session: find_labelled(session, kind, label), "find")
            time.sleep(_LOOK_SECONDS)
        return self._guard.use(lambda _, session: find_labelled(session, kind, label), "find")


def _house_label(name: str, version: int) -> str:
    if not _NAME.fullmatch(name) or version < 1:
        raise DeviceRefused("a house key has a name of small letters and a version from 1")
    return f"countersign-{name}-{version}"
