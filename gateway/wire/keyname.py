"""How does a row name a key that is not on the token, and from what is such a key derived?

A derived secret is named by the master's version and a random salt of its own; a public key by its point. The name
is under the row's MAC. A secret that nobody needs any more loses its salt: what stays is the name of a key that
cannot be derived again. Not part of the public wire format: only gateways read it.
"""

import re
from dataclasses import dataclass
from hashlib import sha256

from gateway.wire import tlv
from gateway.wire.errors import WireError

SALT_LENGTH = 32
_SALTED = re.compile(r"derived:master=([1-9][0-9]{0,8});salt=([0-9a-f]{64})")
_FORGOTTEN = re.compile(r"derived:master=[1-9][0-9]{0,8};forgotten=[0-9A-Za-z_-]{1,64}")
_POINT = re.compile(r"point:([0-9a-f]{130})")
_DOMAIN = b"countersign derived key 1"


@dataclass(frozen=True, slots=True)
class DerivedName:
    """A secret key by the version of its master and its salt of 32 bytes."""

    master: int
    salt: bytes

    def text(self) -> str:
        """Return the name as a row keeps it, 93 characters at most."""
        return f"derived:master={self.master};salt={self.salt.hex()}"

    def forgotten(self, keyset: str) -> str:
        """Return the name without the salt; the keyset's id keeps it the only one of its kind."""
        return f"derived:master={self.master};forgotten={keyset}"

    @classmethod
    def read(cls, text: str) -> "DerivedName":
        """Read what ``text()`` wrote. Raises WireError ``key_name``."""
        found = _SALTED.fullmatch(text)
        if found is None:
            raise WireError("key_name")
        return cls(int(found[1]), bytes.fromhex(found[2]))

    def context(self, purpose: str, application: str, user: str, keyset: str) -> bytes:
        """Return the 32 bytes the key is derived from: a hash over all that makes it the only one of its kind."""
        values = (_DOMAIN, purpose.encode(), application.encode(), user.encode(), keyset.encode(), self.salt)
        return sha256(tlv.sequence([(0x80 + number, value) for number, value in enumerate(values)])).digest()


def is_salted(text: str) -> bool:
    """Say whether it names a derived key that still has its salt."""
    return _SALTED.fullmatch(text) is not None


def is_forgotten(text: str) -> bool:
    """Say whether it names a derived key that has lost its salt."""
    return _FORGOTTEN.fullmatch(text) is not None


def point_name(point: bytes) -> str:
    """Return the name of a public key: its uncompressed point of 65 bytes."""
    return f"point:{point.hex()}"


def read_point(text: str) -> bytes:
    """Read what ``point_name`` wrote. Raises WireError ``key_name``."""
    found = _POINT.fullmatch(text)
    if found is None:
        raise WireError("key_name")
    return bytes.fromhex(found[1])
