"""Which 91 bytes are a public key of P-256, and how is it named?

RFC 5480 with the named curve and the uncompressed point, nothing else. Source: docs/reference/wire.md,
"Public keys"; RFC 7638 for the thumbprint.
"""

import hashlib
from functools import lru_cache

from gateway.wire import base64s
from gateway.wire.errors import WireError

POINT_BYTES = 65
SPKI_BYTES = 91
_HEADER = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
_UNCOMPRESSED = 0x04
_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B


def check_point(point: bytes) -> bytes:
    """Return `point` if it is 65 bytes, uncompressed and on P-256. Raises WireError `length` or `point`."""
    if len(point) != POINT_BYTES:
        raise WireError("length", "point")
    if point[0] != _UNCOMPRESSED:
        raise WireError("point")
    x, y = int.from_bytes(point[1:33], "big"), int.from_bytes(point[33:], "big")
    if x >= _P or y >= _P or (y * y - (x * x * x - 3 * x + _B)) % _P:
        raise WireError("point")
    return point


def point_from_spki(der: bytes) -> bytes:
    """Return the point (65 bytes) of an SPKI (91 bytes). Raises WireError `spki` or `point`."""
    if len(der) != SPKI_BYTES or not der.startswith(_HEADER):
        raise WireError("spki")
    return check_point(der[len(_HEADER) :])


@lru_cache(maxsize=1024)
def spki_thumbprint(der: bytes) -> str:
    """Return the thumbprint of the key in an SPKI (91 bytes). Raises WireError as `point_from_spki`."""
    return jwk_thumbprint(point_from_spki(der))


def spki_from_point(point: bytes) -> bytes:
    """Return the SPKI (91 bytes) of a point (65 bytes). Raises WireError `length` or `point`."""
    return _HEADER + check_point(point)


def jwk_members(point: bytes) -> dict[str, str]:
    """Return the members of a JWK that RFC 7638 hashes, in its order. Raises WireError as `check_point`."""
    check_point(point)
    return {
        "crv": "P-256",
        "kty": "EC",
        "x": base64s.url_encode(point[1:33]),
        "y": base64s.url_encode(point[33:]),
    }


@lru_cache(maxsize=1024)
def jwk_thumbprint(point: bytes) -> str:
    """Return the RFC 7638 SHA-256 thumbprint, base64url, 43 characters. Raises WireError as `check_point`."""
    members = ",".join(f'"{name}":"{value}"' for name, value in jwk_members(point).items())
    return base64s.url_encode(hashlib.sha256(f"{{{members}}}".encode("ascii")).digest())
