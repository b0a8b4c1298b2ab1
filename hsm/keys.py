"""What does the database write down about a key: its kind and the CKA_ID we gave it, nothing else.

Object handles are counters of one process and mean another key tomorrow; they never leave this package.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hsm.errors import InvalidUri
from hsm.uri import TokenUri

ID_LENGTH = 16


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
        parts = TokenUri.parse(uri)
        try:
            ref = cls(KeyKind(parts.type or ""), parts.id or b"")
        except ValueError:
            raise InvalidUri("The URI does not name a key by id and type.", "Restore the row.") from None
        if TokenUri.parse(ref.uri()) != parts:
            raise InvalidUri("The URI of a key says more than id and type.", "Restore the row.")
        return ref
