"""What is there to say of the certificate with which the doors speak TLS: can it be used, and when does it end?"""

import ssl
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from cryptography import x509

from gateway.clock import Clock
from gateway.settings import Settings, SettingsError

_SOON = timedelta(days=14)
_log = structlog.get_logger("gateway")


def end_of(settings: Settings) -> datetime | None:
    """Return when the certificate of the settings ends; None without TLS.

    Raises:
        SettingsError: TLS cannot be spoken with these files.
    """
    if settings.tls_certificate_file is None:
        return None
    return _load(
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), settings.tls_certificate_file, settings.tls_key_file
    )


def _load(context: ssl.SSLContext, certificate: Path, key: Path | None) -> datetime:
    """Load both into the context; returns when the certificate ends."""
    try:
        # One file may hold both. A passphrase would be asked for at a terminal, where nobody sits.
        context.load_cert_chain(certificate, key or certificate, password=lambda: "")
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    except (OSError, ValueError) as error:  # ssl.SSLError is the former
        why = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"Cannot use the certificate and key for TLS: {why}. Name readable PEM files that belong together, the key "
            "without a passphrase, in COUNTERSIGN_TLS_CERTIFICATE_FILE and COUNTERSIGN_TLS_KEY_FILE."
        ) from None
    return chain[0].not_valid_after_utc


def served_by(settings: Settings) -> ssl.SSLContext | None:
    """Return TLS as a door speaks it; None without TLS. Raises SettingsError as above."""
    if settings.tls_certificate_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, settings.tls_certificate_file, settings.tls_key_file)
    return context


def require_lasting(settings: Settings, clock: Clock) -> None:
    """Raise SettingsError if the certificate cannot be used or has ended."""
    end = end_of(settings)
    if end is not None and end <= clock.now():
        raise SettingsError(
            f"It ended at {end:%Y-%m-%d %H:%M} UTC: callers that verify it are not served. Put a new one in the place "
            "of COUNTERSIGN_TLS_CERTIFICATE_FILE and start the doors anew."
        )


def tell_end(end: datetime, clock: Clock) -> None:
    """Log that the certificate has ended or will soon; a door serves all the same, for some callers do not look."""
    left = end - clock.now()
    if left <= timedelta(0):
        _log.error("the certificate has ended", ended_at=end.isoformat())
    elif left <= _SOON:
        _log.warning("the certificate ends soon", ends_at=end.isoformat(), days=left.days)
