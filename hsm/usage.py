"""How is a key used through a remembered handle that may have gone stale?

Another process may have destroyed the object, or replaced it: then the module says that the handle is
invalid, and the key is looked up once more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from pkcs11 import Session
from pkcs11.exceptions import PKCS11Error

from hsm.faults import Fault, classify
from hsm.keys import KeyRef

if TYPE_CHECKING:  # a connection tests the device with what is built on this
    from hsm.connection import Connection

T = TypeVar("T")


def with_handle(connection: Connection, session: Session, key: KeyRef, operation: Callable[[int], T]) -> T:
    """Run `operation` on the handle of `key`; if the handle is stale, once more on a fresh one."""
    try:
        return operation(connection.handles.get(session, key))
    except PKCS11Error as exc:
        if classify(exc) is not Fault.STALE_HANDLE:
            raise
    connection.handles.drop(key)
    return operation(connection.handles.get(session, key))
