"""ECDSA over P-256 with keys on the token: digests of 32 bytes, signatures as r||s in 64 bytes.

What modules accept differs widely (points off the curve, points without their DER wrapping, signatures of any
length), so everything is checked here first; the module only ever sees well-formed input.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, Session

from hsm import rawkey, templates
from hsm.errors import DeviceRefused
from hsm.handles import find_one
from hsm.keys import ID_LENGTH, POINT_LENGTH, KeyKind, KeyRef
from hsm.usage import with_handle

if TYPE_CHECKING:  # a connection tests the device with what is here
    from hsm.connection import Connection

DIGEST_LENGTH, SIGNATURE_LENGTH = 32, 64  # bytes
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # n of P-256, FIPS 186-4 D.1.2.3
_UNCOMPRESSED = b"\x04"  # SEC 1, section 2.3.3
_OCTET_STRING = bytes([0x04, POINT_LENGTH])  # DER: how CKA_EC_POINT holds a point


def sign(connection: Connection, session: Session, key: KeyRef, digest: bytes) -> bytes:
    """Sign the 32-byte `digest`; returns r||s."""
    _require(key, KeyKind.PRIVATE, digest)
    direct = connection.module.direct
    return with_handle(
        connection, session, key, lambda handle: rawkey.ecdsa_sign(direct, session, handle, digest)
    )


def verify(connection: Connection, session: Session, key: KeyRef, digest: bytes, signature: bytes) -> bool:
    """Whether `signature` is of `key` over the 32-byte `digest`. A malformed one is simply false."""
    _require(key, KeyKind.PUBLIC, digest)
    if not is_well_formed(signature):
        return False
    return with_handle(
        connection, session, key, lambda handle: rawkey.ecdsa_verify(session, handle, digest, signature)
    )


def is_well_formed(signature: bytes) -> bool:
    """Whether `signature` is 64 bytes with 0 < r, s < n."""
    if len(signature) != SIGNATURE_LENGTH:
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    return 0 < r < _ORDER and 0 < s < _ORDER


def check_point(point: bytes) -> bytes:
    """Return `point` if it is 65 bytes, uncompressed and on P-256. Raises DeviceRefused."""
    if len(point) != POINT_LENGTH or not point.startswith(_UNCOMPRESSED):
        raise DeviceRefused(f"a public key is an uncompressed point of {POINT_LENGTH} bytes")
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise DeviceRefused("the point is not on P-256") from None
    return point


def create_public(
    session: Session,
    id: bytes,  # noqa: A002
    point: bytes,
    label: str,
    *,
    stored: bool,
    private: bool,
) -> Any:
    """Create the public key object of a checked `point`."""
    return session.create_object(public_template(id, point, label, stored=stored, private=private))


def public_template(
    id: bytes,  # noqa: A002
    point: bytes,
    label: str,
    *,
    stored: bool,
    private: bool,
) -> templates.Template:
    """Return the whole template of a checked `point`."""
    template = templates.public_key(id, label, stored=stored, private=private)
    return templates.packed(template | {Attribute.EC_POINT: _OCTET_STRING + point})


def generate_pair(session: Session, label: str, *, private: bool) -> tuple[KeyRef, KeyRef]:
    """Generate a stored pair; returns (private, public), both with the same new CKA_ID."""
    new_id = secrets.token_bytes(ID_LENGTH)
    curve = session.create_domain_parameters(
        KeyType.EC, templates.packed({Attribute.EC_PARAMS: templates.P256_PARAMS}), local=True
    )
    curve.generate_keypair(
        mechanism=Mechanism.EC_KEY_PAIR_GEN,
        capabilities=MechanismFlag(0),
        store=True,
        public_template=templates.public_key(new_id, label, stored=True, private=private),
        private_template=templates.private_key(new_id, label, stored=True),
    )
    return KeyRef(KeyKind.PRIVATE, new_id), KeyRef(KeyKind.PUBLIC, new_id)


def public_point(session: Session, key: KeyRef) -> bytes:
    """Read the point of a public key, 65 bytes."""
    if key.kind is not KeyKind.PUBLIC:
        raise DeviceRefused("only a public key has a point to read")
    value = bytes(find_one(session, key)[Attribute.EC_POINT])
    return check_point(value.removeprefix(_OCTET_STRING) if len(value) != POINT_LENGTH else value)


def _require(key: KeyRef, kind: KeyKind, digest: bytes) -> None:
    if key.kind is not kind:
        raise DeviceRefused(f"this needs a {kind} key")
    check_digest(digest)


def check_digest(digest: bytes) -> None:
    """Raise DeviceRefused unless it is 32 bytes."""
    if len(digest) != DIGEST_LENGTH:
        raise DeviceRefused(f"a digest has {DIGEST_LENGTH} bytes")
