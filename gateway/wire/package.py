"""How do new keys and all that describes them travel to the phone?

Source: docs/reference/wire.md, "The package".
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

from gateway.wire import base45, tlv, wrapping
from gateway.wire.errors import WireError
from gateway.wire.policy import DeviceFields, Flags, PackagePolicy, PasswordClasses
from gateway.wire.secret import ALPHABET, PACKAGE_SYMBOLS
from gateway.wire.text import check_id, check_text, read_id, read_text
from gateway.wire.timestep import moment_at, unix_seconds
from gateway.wire.wrapping import OaepHash, RsaWrapping, SecretWrapping

__all__ = [
    "DeviceFields",
    "Flags",
    "OaepHash",
    "Package",
    "PackagePolicy",
    "PasswordClasses",
    "RsaWrapping",
    "SecretWrapping",
    "qr_text",
]

PREFIX = "PC1:"
ISSUER_BYTES = 64
URL_BYTES = 256
PIN_BYTES = 32
_VERSION = b"\x01"
_TAGS = (0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0xA7, 0xA8, 0x89, 0x8A)
_SECRET, _PIN = 0x8B, 0x8C
_URL = re.compile(r"https?://[!-~]*[!-.0-~]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """All that a phone needs to become the user's. Raises WireError for values that no package can hold.

    `url` is the client door, without a slash at its end. `valid_until` is in whole seconds. `khmac` and `kauth` are
    wrapped. `secret` (26 symbols) is there only in the QR-only delivery. `door_pin` is the SHA-256 of the SPKI of the
    door's CA.
    """

    issuer: str
    application: str
    user: str
    keyset: str
    url: str
    valid_until: datetime
    policy: PackagePolicy
    wrapping: SecretWrapping | RsaWrapping
    khmac: bytes
    kauth: bytes
    secret: str | None = None
    door_pin: bytes | None = None

    def __post_init__(self) -> None:
        check_text(self.issuer, what="issuer", most_bytes=ISSUER_BYTES)
        for what in ("application", "user", "keyset"):
            check_id(getattr(self, what), what=what)
        self._check_url()
        if moment_at(unix_seconds(self.valid_until)) != self.valid_until:
            raise WireError("time", "valid_until")
        self.wrapping.check_wrapped(self.khmac, what="khmac")
        self.wrapping.check_wrapped(self.kauth, what="kauth")
        if len(self.khmac) != len(self.kauth):
            raise WireError("length", "kauth")
        if self.secret is not None:
            self._check_secret(self.secret)
        if self.door_pin is not None:
            tlv.exactly(self.door_pin, PIN_BYTES, what="door_pin")

    def _check_url(self) -> None:
        check_text(self.url, what="url", most_bytes=URL_BYTES)
        if _URL.fullmatch(self.url) is None or "?" in self.url or "#" in self.url:
            raise WireError("url", "url")

    def _check_secret(self, secret: str) -> None:
        if isinstance(self.wrapping, RsaWrapping):
            raise WireError("tlv_unknown", "secret")
        if len(secret) != PACKAGE_SYMBOLS or any(symbol not in ALPHABET for symbol in secret):
            raise WireError("secret", "secret")

    def encode(self) -> bytes:
        """Return the whole package, with the secret if there is one."""
        parts = self._parts()
        if self.secret is not None:
            parts.append((_SECRET, self.secret.encode("ascii")))
        if self.door_pin is not None:
            parts.append((_PIN, self.door_pin))
        return tlv.sequence(parts)

    def _parts(self) -> list[tuple[int, bytes]]:
        values = (
            _VERSION,
            check_text(self.issuer, what="issuer", most_bytes=ISSUER_BYTES),
            check_id(self.application, what="application"),
            check_id(self.user, what="user"),
            check_id(self.keyset, what="keyset"),
            self.url.encode("ascii"),
            tlv.number(unix_seconds(self.valid_until), 8, what="valid_until"),
            self.policy.encode(),
            self.wrapping.encode(),
            self.khmac,
            self.kauth,
        )
        return list(zip(_TAGS, values, strict=True))

    def digest(self) -> bytes:
        """Return what the phone sends back: SHA-256 of the package without the secret, 32 bytes."""
        parts = self._parts()
        if self.door_pin is not None:
            parts.append((_PIN, self.door_pin))
        return hashlib.sha256(tlv.sequence(parts)).digest()

    def to_qr(self) -> str:
        """Return the text of the QR code, all of it in the alphanumeric set."""
        return qr_text(self.encode())

    @classmethod
    def decode(cls, data: bytes) -> "Package":
        """Return the one package whose encoding is `data`. Raises WireError."""
        found = tlv.decode(data, required=_TAGS, optional=(_SECRET, _PIN))
        version, issuer, application, user, keyset, url, until, policy, wrapped_by, khmac, kauth = (
            found[tag] for tag in _TAGS
        )
        if version != _VERSION:
            raise WireError("version", "version")
        return cls(
            issuer=read_text(issuer, what="issuer", most_bytes=ISSUER_BYTES),
            application=read_id(application, what="application"),
            user=read_id(user, what="user"),
            keyset=read_id(keyset, what="keyset"),
            url=read_text(url, what="url", most_bytes=URL_BYTES),
            valid_until=moment_at(tlv.read_number(until, 8, what="valid_until")),
            policy=PackagePolicy.decode(policy),
            wrapping=wrapping.decode(wrapped_by),
            khmac=khmac,
            kauth=kauth,
            secret=read_id(found[_SECRET], what="secret") if _SECRET in found else None,
            door_pin=found.get(_PIN),
        )

    @classmethod
    def from_qr(cls, text: str) -> "Package":
        """Return the package in the text of a QR code. Raises WireError."""
        if not text.startswith(PREFIX):
            raise WireError("prefix")
        return cls.decode(base45.decode(text.removeprefix(PREFIX)))


def qr_text(encoded: bytes) -> str:
    """Return the text of the QR code of a package that was encoded already."""
    return PREFIX + base45.encode(encoded)
