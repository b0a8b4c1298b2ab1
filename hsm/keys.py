"""What does the database write down about a key: its kind and the CKA_ID we gave it, nothing else.

Object handles are counters of one process and mean another key tomorrow; they never leave this package.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from hsm.errors import DeviceRefused, InvalidUri
from hsm.uri import TokenUri

ID_LENGTH = 16
CONTEXT_LENGTH = 32
POINT_LENGTH = 65
_WRITTEN = re.compile(r"pkcs11:id=((?:%[0-9A-F]{2}){16});type=(secret-key|public|private)")


class KeyKind(StrEnum):
    """The values of the `type` attribute of RFC 7512 that we use."""

    SECRET = "secret-key"  # noqa: S105  # a word of the RFC
    PUBLIC = "public"
    PRIVATE = "private"


@dataclass(frozen=True, slots=True)
class KeyRef:
    """A key on the token: `id` is its CKA_ID, 16 bytes. Raises ValueError for any other length."""

    kind: KeyKind
    id: bytes

    def __post_init__(self) -> None:
        # An empty id would match every object without one, so the length is a matter of safety.
        if not isinstance(self.id, bytes) or len(self.id) != ID_LENGTH:
            raise ValueError(f"the id of a key has {ID_LENGTH} bytes")

    def uri(self) -> str:
        """Write the reference as `pkcs11:id=%..;type=..`: no token, no PIN, 74 characters at most."""
        return f"pkcs11:id={''.join(f'%{byte:02X}' for byte in self.id)};type={self.kind}"

    @classmethod
    def parse(cls, uri: str) -> KeyRef:
        """Read what `uri()` wrote. Raises InvalidUri."""
        return _read(uri)


@lru_cache(maxsize=4096)  # a phone's requests, and each step of one, name the same keys
def _read(uri: str) -> KeyRef:
    if (written := _WRITTEN.fullmatch(uri)) is not None:
        return KeyRef(KeyKind(written[2]), bytes.fromhex(written[1].replace("%", "")))
    parts = TokenUri.parse(uri)
    try:
        ref = KeyRef(KeyKind(parts.type or ""), parts.id or b"")
    except ValueError:
        raise InvalidUri("The URI does not name a key by id and type.", "Restore the row.") from None
    if TokenUri.parse(ref.uri()) != parts:
        raise InvalidUri("The URI of a key says more than id and type.", "Restore the row.")
    return ref


@dataclass(frozen=True, slots=True)
class DerivedRef:
    """A secret key that is nowhere: the HSM derives it from its master of this version and these 32 bytes.

    `context` is a hash of what makes the key the only one of its kind. It is never raw data: the two halves are
    encrypted apart from each other, so chosen halves could be mixed. Raises DeviceRefused.
    """

    master: int
    context: bytes

    def __post_init__(self) -> None:
        if self.master < 1 or len(self.context) != CONTEXT_LENGTH:
            raise DeviceRefused(f"a key is derived from a version and {CONTEXT_LENGTH} bytes")


@dataclass(frozen=True, slots=True)
class PointRef:
    """A P-256 public key that is not on the token: its uncompressed point, 65 bytes. Raises DeviceRefused."""

    point: bytes

    def __post_init__(self) -> None:
        if len(self.point) != POINT_LENGTH:
            raise DeviceRefused(f"a public key is an uncompressed point of {POINT_LENGTH} bytes")


FleetingRef = DerivedRef | PointRef
SecretRef = KeyRef | DerivedRef
PublicRef = KeyRef | PointRef
