"""What does a phone know of its account and of a transaction it shows?"""

import hashlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from tests.counterparts.phone_package import Flags, Policy
from tests.counterparts.phone_tlv import b64, unb64


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What the phone knows in clear. `package_digest` is kept only until the registration is proved."""

    issuer: str
    application: str
    user: str
    keyset: str
    url: str
    valid_until: str
    policy: Policy
    fingerprint: bytes
    door_pin: bytes | None = None
    ca_pem: str | None = None
    registered: bool = False
    package_digest: bytes | None = None

    def to_json(self) -> dict[str, Any]:
        """The record as it is stored."""
        record = asdict(self)
        for name in ("fingerprint", "door_pin", "package_digest"):
            record[name] = b64(record[name]) if record[name] is not None else None
        return record

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Account":
        """From the stored record."""
        fields = dict(record)
        for name in ("fingerprint", "door_pin", "package_digest"):
            fields[name] = unb64(fields[name]) if fields[name] is not None else None
        rules = dict(fields["policy"])
        rules["flags"] = Flags(rules["flags"])
        fields["policy"] = Policy(**rules)
        return cls(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A transaction as the user sees it; the digest is computed from `content`."""

    transaction: str
    kind: str
    title: str | None
    media_type: str
    content: bytes
    digits: int
    expires: str
    offline: bool = True

    @property
    def digest(self) -> bytes:
        """SHA-256 of what was shown."""
        return hashlib.sha256(self.content).digest()

    @property
    def text(self) -> str | None:
        """The content as text, or None for a document."""
        return self.content.decode("utf-8", "replace") if self.media_type.startswith("text/") else None


def wall_clock() -> datetime:
    """The default clock."""
    return datetime.now(UTC)
