"""Which bytes does a Web Push carry? RFC 8291: encrypted to the browser with aes128gcm (RFC 8188), in one record."""

import os

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_SALT_BYTES = 16
_RECORD_BYTES = 4096
_LAST_RECORD = b"\x02"


def point_of(key: EllipticCurvePublicKey) -> bytes:
    """Return the 65 bytes of an uncompressed point."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def encrypt(
    plaintext: bytes,
    receiver: EllipticCurvePublicKey,
    auth: bytes,
    *,
    sender: EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """Return the body of a push.

    Args:
        plaintext: what the browser gets to read, far less than a record.
        receiver: ``p256dh`` of the subscription.
        auth: its 16 bytes of the same name.
        sender: key of this one message; only a test hands one in.
        salt: its 16 bytes; only a test hands them in.
    """
    sender = sender or generate_private_key(SECP256R1())
    salt = os.urandom(_SALT_BYTES) if salt is None else salt
    own = point_of(sender.public_key())
    shared = sender.exchange(ECDH(), receiver)
    secret = _derive(shared, auth, b"WebPush: info\0" + point_of(receiver) + own, 32)
    key = _derive(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derive(secret, salt, b"Content-Encoding: nonce\0", 12)
    sealed = AESGCM(key).encrypt(nonce, plaintext + _LAST_RECORD, None)
    return salt + _RECORD_BYTES.to_bytes(4, "big") + bytes([len(own)]) + own + sealed


def _derive(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)
