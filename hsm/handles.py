"""Which object handle means which key, in this epoch of this process?

Finding an object reads the whole token in some modules (200 ms among 10,000 objects in SoftHSM), so each
handle is looked up once. A table belongs to one connection and dies with it: after a new initialisation the
same number may mean another user's key.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pkcs11 import Attribute, Session
from pkcs11._pkcs11 import SearchIter  # type: ignore[attr-defined]  # its stubs leave it out
from pkcs11.exceptions import ObjectHandleInvalid, PKCS11Error

from hsm import templates
from hsm.errors import DuplicateKey
from hsm.faults import Fault, SearchFailed, classify, named
from hsm.keys import ID_LENGTH, KeyKind, KeyRef
from hsm.watch import beat


class NotFound(Exception):  # it is a fact about a search, not yet an error
    """No object answered to the search. Whether the key is missing or we are logged out is not known yet."""


class Handles:
    """The handles seen in one connection."""

    def __init__(self) -> None:
        self._known: dict[KeyRef, int] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, session: Session, ref: KeyRef) -> int:
        """Return the handle of `ref`, searching for it once. Raises NotFound, DuplicateKey."""
        handle = self._known.get(ref)
        if handle is None:
            handle = self._known[ref] = int(find_one(session, ref).handle)
        return handle

    def drop(self, ref: KeyRef) -> None:
        """Forget the handle of `ref`."""
        self._known.pop(ref, None)

    def sweep(self, session: Session) -> list[tuple[KeyRef, str]]:
        """Learn every handle in one pass over the token. Returns the keys with their labels."""
        return [
            named
            for kind in KeyKind
            for each in find_all(session, kind)
            if (named := self._learn(kind, each))
        ]

    def _learn(self, kind: KeyKind, found: Any) -> tuple[KeyRef, str] | None:
        beat()
        values = read(found, Attribute.ID, Attribute.LABEL, Attribute.TOKEN)
        if values is None:
            return None
        if len(values[Attribute.ID]) != ID_LENGTH or not values[Attribute.TOKEN]:
            return None  # not ours, or gone when its session ends
        ref = KeyRef(kind, values[Attribute.ID])
        self._known[ref] = int(found.handle)
        return ref, values[Attribute.LABEL]


def find_one(session: Session, ref: KeyRef) -> Any:
    """Return the one object of `ref`. Raises NotFound, DuplicateKey."""
    found = find_by_id(session, ref)
    if not found:
        raise NotFound(ref.uri())
    if len(found) > 1:
        raise DuplicateKey(f"{len(found)} objects on the token answer to {ref.uri()}")
    return found[0]


def find_by_id(session: Session, ref: KeyRef) -> list[Any]:
    """Return every object with this class and CKA_ID."""
    return _search(session, templates.by_id(ref.kind, ref.id))


def find_all(session: Session, kind: KeyKind) -> list[Any]:
    """Return every object of one class."""
    return _search(session, templates.all_of(kind))


def find_labelled(session: Session, kind: KeyKind, label: str) -> KeyRef:
    """Return the one key of `kind` with this CKA_LABEL. Raises NotFound, DuplicateKey."""
    found = find_by_label(session, kind, label)
    if not found:
        raise NotFound(label)
    if len(found) > 1:
        raise DuplicateKey(f"{len(found)} objects on the token have the label {label!r}")
    return found[0]


def find_by_label(session: Session, kind: KeyKind, label: str) -> list[KeyRef]:
    """Return the keys of `kind` with this CKA_LABEL."""
    found = (read(each, Attribute.ID) for each in _search(session, templates.by_label(kind, label)))
    return [KeyRef(kind, values[Attribute.ID]) for values in found if values is not None]


def read(found: Any, *attributes: Attribute) -> dict[Attribute, Any] | None:
    """Return attributes of an object that a search found; None if it is gone since."""
    try:
        return dict(found.get_attributes(attributes))
    except ObjectHandleInvalid:
        return None


def _search(session: Session, template: templates.Template) -> list[Any]:
    """Search to the end, here and now: an open search holds the lock of its session.

    A failed one holds it as well, until it is collected; so the traceback, which keeps it, is dropped.

    Other processes create and destroy keys meanwhile. An object that goes between being found and being looked at
    ends the batch it came in, so a batch is one object, and what is gone was not found.
    """
    found = []
    try:
        with SearchIter(session, template, 1) as search:
            for batch in search:
                with suppress(ObjectHandleInvalid):
                    found.extend(batch)
                beat()  # on a large token this takes long, and every object is a call
    except PKCS11Error as exc:
        if classify(exc) is Fault.AMBIGUOUS:
            raise SearchFailed(named(exc)) from None
        raise exc.with_traceback(None) from None
    return found
