"""HMAC-SHA-256 with a key on the token.

The MAC is computed with C_Sign and compared by the caller in constant time. C_Verify is not used for HMAC:
modules disagree about what it answers to a wrong value, and some report a broken device.
"""

from __future__ import annotations

from pkcs11 import Session

from hsm.connection import Connection
from hsm.errors import DeviceRefused
from hsm.keys import KeyKind, KeyRef
from hsm.rawkey import hmac_sha256
from hsm.usage import with_handle


def mac(connection: Connection, session: Session, key: KeyRef, data: bytes) -> bytes:
    """Return the 32 bytes of HMAC-SHA-256 (RFC 2104) of `data` under `key`."""
    if key.kind is not KeyKind.SECRET:
        raise DeviceRefused("a MAC needs a secret key")
    direct = connection.module.direct
    return with_handle(connection, session, key, lambda handle: hmac_sha256(direct, session, handle, data))
