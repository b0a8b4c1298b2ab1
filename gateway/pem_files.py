"""What do the PEM files that settings name hold?"""

from collections.abc import Callable
from hashlib import sha256
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.settings import Settings, SettingsError

T = TypeVar("T")


def client_authority(settings: Settings) -> x509.Certificate | None:
    """Return the certificate of the client door's CA, the first of its file; None with public CAs."""
    if settings.client_ca_file is None:
        return None
    pem = read_pem(settings.client_ca_file.read_bytes, "CLIENT_CA_FILE")
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise SettingsError("COUNTERSIGN_CLIENT_CA_FILE holds no certificate. Name a PEM file.") from None


def door_pin(settings: Settings) -> bytes | None:
    """Return the SHA-256 of the public key of the client door's CA; None with public CAs."""
    certificate = client_authority(settings)
    if certificate is None:
        return None
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(spki).digest()


def read_pem(read: Callable[[], T], name: str) -> T:
    """Return what `read` reads from the file of this setting. Raises SettingsError."""
    try:
        return read()
    except OSError as error:
        why = error.strerror or error
        raise SettingsError(f"Cannot read the file of COUNTERSIGN_{name}: {why}. Name a PEM file.") from None
