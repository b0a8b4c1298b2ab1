"""Which keys, ids and moments do all vectors share? Published, so of no use for anything else."""

import hashlib
import hmac
from datetime import UTC, datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.wire import signature
from gateway.wire.message import Message, Operation

APPLICATION, USER = "app_bank", "user-0001"
KEYSET, TRANSACTION = "ks_0192f0c1a2b37c4d8e5f60718293a4b5", "txn_0192f0c1a2b37c4d8e5f60718293a4b6"
ISSUER, URL = "Example Bank", "https://confirm.bank.example"
KHMAC, KAUTH = bytes(range(32)), bytes(range(32, 64))
FINGERPRINT = hashlib.sha256(b"the fingerprint of the vectors").digest()
SALT = bytes(range(0xA0, 0xB0))
NOW = datetime(2026, 11, 21, 22, 41, 3, tzinfo=UTC)
UNTIL = datetime(2027, 11, 21, 22, 41, 3, tzinfo=UTC)
STEP_SECONDS = 180
TEXT = "Pay 1,250.00 EUR to Jörg Example, account DE02 1203 0000 0000 2020 51".encode()
PLAIN = "text/plain; charset=utf-8"


def _key(label: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(hashlib.sha256(label).digest(), "big"), ec.SECP256R1())


KPRIVATE, RECEIPT_KEY = _key(b"Kprivate of the vectors"), _key(b"receipt key of the vectors")


def spki_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """SPKI of its public key, DER."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def point_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Its public point, 65 bytes."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def sign(key: ec.EllipticCurvePrivateKey, digest: bytes) -> bytes:
    """DER of the RFC 6979 signature, so that the files are the same each time."""
    return key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()), deterministic_signing=True))


def sign_raw(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """r || s over SHA-256 of the data."""
    return signature.raw_from_der(sign(key, hashlib.sha256(data).digest()))


def mac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256."""
    return hmac.digest(key, data, "sha256")


def message(operation: Operation = Operation.APPROVE, content: bytes = TEXT, **changes: object) -> Message:
    """The message of the vectors, with changes."""
    values: dict[str, object] = {
        "operation": operation,
        "application": APPLICATION,
        "user": USER,
        "media_type": PLAIN,
        "content_digest": hashlib.sha256(content).digest(),
        "fingerprint": FINGERPRINT,
        "step": int(NOW.timestamp()) // STEP_SECONDS,
        "transaction": TRANSACTION,
        "title": "Payment",
    }
    return Message(**(values | changes))  # type: ignore[arg-type]
