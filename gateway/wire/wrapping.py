"""Under which key do Khmac and Kauth travel inside a package?

Source: docs/reference/wire.md, "The wrapping".
"""

from dataclasses import dataclass
from enum import IntEnum

from gateway.wire import tlv
from gateway.wire.errors import WireError
from gateway.wire.secret import MOST_ITERATIONS, RANDOM_ITERATIONS, SALT_BYTES

AES_WRAPPED_BYTES = 40
LEAST_RSA_BYTES = 256
MOST_RSA_BYTES = 1024
_METHOD, _SALT, _ITERATIONS, _HASH = range(0x80, 0x84)
_BY_SECRET, _BY_RSA = b"\x01", b"\x02"


class OaepHash(IntEnum):
    """The hash of RSA-OAEP and of its MGF1; the label is empty."""

    SHA1 = 1
    SHA256 = 2
    SHA384 = 3
    SHA512 = 4


# The names in requests.
OAEP_HASHES = {
    "SHA-1": OaepHash.SHA1,
    "SHA-256": OaepHash.SHA256,
    "SHA-384": OaepHash.SHA384,
    "SHA-512": OaepHash.SHA512,
}


@dataclass(frozen=True, slots=True)
class SecretWrapping:
    """AES key wrap (RFC 3394) under a key from a secret: `salt` 16 bytes, PBKDF2 `iterations`.

    Raises WireError `length` or `out_of_range`.
    """

    salt: bytes
    iterations: int

    def __post_init__(self) -> None:
        tlv.exactly(self.salt, SALT_BYTES, what="salt")
        if not RANDOM_ITERATIONS <= self.iterations <= MOST_ITERATIONS:
            raise WireError("out_of_range", "iterations")

    def encode(self) -> bytes:
        """Return the TLV inside tag A8."""
        iterations = tlv.number(self.iterations, 4, what="iterations")
        return tlv.sequence([(_METHOD, _BY_SECRET), (_SALT, self.salt), (_ITERATIONS, iterations)])

    def check_wrapped(self, key: bytes, *, what: str) -> None:
        """Refuse a wrapped key that this wrapping cannot yield. Raises WireError `length`."""
        tlv.exactly(key, AES_WRAPPED_BYTES, what=what)


@dataclass(frozen=True, slots=True)
class RsaWrapping:
    """RSA-OAEP to a public key of the phone."""

    hash: OaepHash

    def encode(self) -> bytes:
        """Return the TLV inside tag A8."""
        return tlv.sequence([(_METHOD, _BY_RSA), (_HASH, bytes([self.hash]))])

    def check_wrapped(self, key: bytes, *, what: str) -> None:
        """Refuse what is not one block of a key of 2048 to 8192 bits. Raises WireError `length`."""
        if not LEAST_RSA_BYTES <= len(key) <= MOST_RSA_BYTES:
            raise WireError("length", what)


def decode(data: bytes) -> SecretWrapping | RsaWrapping:
    """Return the wrapping in the content of tag A8. Raises WireError."""
    method = tlv.decode(data, required=(_METHOD,), optional=(_SALT, _ITERATIONS, _HASH))[_METHOD]
    if method == _BY_SECRET:
        found = tlv.decode(data, required=(_METHOD, _SALT, _ITERATIONS))
        return SecretWrapping(found[_SALT], tlv.read_number(found[_ITERATIONS], 4, what="iterations"))
    if method == _BY_RSA:
        found = tlv.decode(data, required=(_METHOD, _HASH))
        return RsaWrapping(_hash(found[_HASH]))
    raise WireError("out_of_range", "method")


def _hash(value: bytes) -> OaepHash:
    number = tlv.read_number(value, 1, what="hash")
    try:
        return OaepHash(number)
    except ValueError:
        raise WireError("out_of_range", "hash") from None
