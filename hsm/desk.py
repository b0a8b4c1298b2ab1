"""Where are keys used: each in a turn of its own at the device, or many in one turn?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pkcs11 import Session

from hsm import derivation, ecdsa, fleeting, mac, rawkey
from hsm.connection import Connection
from hsm.guard import Guard
from hsm.keys import DerivedRef, FleetingRef, KeyRef, PointRef, PublicRef, SecretRef
from hsm.turn import Turn

T = TypeVar("T")


class Desk:
    """Where keys are used: each operation in a turn of its own, or all of them in the turn that it was given."""

    def __init__(self, guard: Guard | Turn) -> None:
        self._uses = guard

    def mac(self, key: SecretRef, data: bytes) -> bytes:
        """Return HMAC-SHA-256 of `data`, 32 bytes. Compare it with hmac.compare_digest. Raises KeyMissing."""
        if isinstance(key, DerivedRef):
            return self._use_fleeting(
                key,
                lambda connection, session, handle: rawkey.hmac_sha256(
                    connection.module.direct, session, handle, data
                ),
                "mac",
            )
        return self._uses.use(lambda connection, session: mac.mac(connection, session, key, data), "mac")

    def verify(self, key: PublicRef, digest: bytes, signature: bytes) -> bool:
        """Whether `signature` (r||s, 64 bytes) over the 32-byte `digest` is of the P-256 `key`."""
        if isinstance(key, PointRef):
            ecdsa.check_digest(digest)
            return ecdsa.is_well_formed(signature) and self._use_fleeting(
                key,
                lambda _, session, handle: rawkey.ecdsa_verify(session, handle, digest, signature),
                "verify",
            )
        return self._uses.use(
            lambda connection, session: ecdsa.verify(connection, session, key, digest, signature), "verify"
        )

    def sign(self, key: KeyRef, digest: bytes) -> bytes:
        """Sign the 32-byte `digest` with a P-256 private key; returns r||s, 64 bytes."""
        return self._uses.use(
            lambda connection, session: ecdsa.sign(connection, session, key, digest), "sign"
        )

    def _use_fleeting(
        self, key: FleetingRef, operation: Callable[[Connection, Session, int], T], kind: str
    ) -> T:
        """Use a key that is not on the token; if the HSM does not hold it just now, have it made, alone."""
        found = self._uses.use(
            lambda connection, session: fleeting.use(
                connection, key, lambda handle: operation(connection, session, handle)
            ),
            kind,
        )
        if found is not None:
            return found
        return self._uses.make(
            lambda connection, session: operation(
                connection, session, derivation.made(connection, session, key)
            )
        )
