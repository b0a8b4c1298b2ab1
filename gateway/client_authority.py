"""Would phones that are told of an authority of the client door accept the certificate that they meet there?"""

import ssl
from contextlib import suppress
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.certificate import served_by
from gateway.clock import Clock
from gateway.pem_files import client_authority
from gateway.settings import Settings, SettingsError

_FLIGHTS = 3  # a handshake of TLS 1.3 has as many
_NAME = "COUNTERSIGN_CLIENT_CA_FILE"


def require_accepted(settings: Settings, clock: Clock) -> str:
    """Return what was seen: that no authority is named, that phones accept the door, or that a proxy meets them.

    Raises:
        SettingsError: phones that get keys now would turn away from the door.
    """
    authority = client_authority(settings)
    if authority is None:
        return "not set up: phones rely on public authorities"
    _require_authority(authority, clock)
    address = urlsplit(settings.client_url)
    if address.scheme != "https":
        raise SettingsError(
            "Phones that are told of an authority talk to https alone: correct COUNTERSIGN_CLIENT_URL, or clear "
            f"{_NAME}."
        )
    server = served_by(settings)
    if server is None or settings.trusted_proxies:
        return "ok; not compared with the certificate of the proxy in front, which phones meet"
    _shake_hands(_phone(authority), server, str(address.hostname))
    return "ok"


def _require_authority(certificate: x509.Certificate, clock: Clock) -> None:
    try:
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    if not is_authority:
        raise SettingsError(
            f"{_NAME} holds the certificate of no authority. Name the file of the one that issued the door's own."
        )
    if not certificate.not_valid_before_utc <= clock.now() < certificate.not_valid_after_utc:
        raise SettingsError(
            f"The authority in {_NAME} is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, and not now: phones are not served. Put a "
            "certificate of it over the same key in its place, and into the door's chain."
        )


def _phone(authority: x509.Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an intermediate authority is an anchor as well
    context.load_verify_locations(cadata=authority.public_bytes(Encoding.DER))
    return context


def _shake_hands(phone: ssl.SSLContext, door: ssl.SSLContext, name: str) -> None:
    """Let both begin to speak TLS with each other, in memory. Raises SettingsError if the phone turns away."""
    to_door, to_phone = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        phone.wrap_bio(to_phone, to_door, server_hostname=name),
        door.wrap_bio(to_door, to_phone, server_side=True),
    )
    try:
        for end in ends * _FLIGHTS:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    except ssl.SSLCertVerificationError as error:
        raise SettingsError(
            f"Phones that get keys now would refuse the client door: {error.verify_message.rstrip('.')}. Name the "
            f"authority that issued COUNTERSIGN_TLS_CERTIFICATE_FILE in {_NAME}, and a name of the certificate in "
            "COUNTERSIGN_CLIENT_URL; or, if phones meet the certificate of a proxy, the proxy in "
            "COUNTERSIGN_TRUSTED_PROXIES."
        ) from None
