"""What the HSM vouches for of a row of keys or of a transaction: the bytes under the binding MAC.

Whoever can write to the database must not be able to point a user at another's keys, unblock a user, revive a
keyset or prolong it. So every value a decision rests on enters here, the user's state included.
Not part of the public wire format: only gateways read it.
"""

from dataclasses import dataclass
from datetime import datetime

from gateway.wire import tlv

_VERSION = b"\x01"
_TRANSACTION = b"\x81"  # never the version of a keyset: one kind of row cannot pass for the other


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysetBinding:
    """The values of one keyset row, and of its user, that decisions rest on."""

    application: str
    user: str
    user_status: str
    keyset: str
    keyset_status: str
    delivery: str
    khmac: str
    kauth: str
    kpublic: str | None
    spki: bytes | None
    fingerprint: bytes
    device: str | None
    step_seconds: int
    digits: int
    flags: int
    renews: str | None
    package_sha256: bytes
    created_at: datetime
    valid_until: datetime
    lapses_at: datetime | None
    registered_at: datetime | None
    ended_at: datetime | None
    policy_version: int

    def encode(self) -> bytes:
        """Return the TLV the binding key authenticates; an absent value is an empty one.

        Raises:
            ValueError, OverflowError: a value no gateway writes.
        """
        values = (
            _VERSION,
            self.application.encode(),
            self.user.encode(),
            self.user_status.encode(),
            self.keyset.encode(),
            self.keyset_status.encode(),
            self.delivery.encode(),
            self.khmac.encode(),
            self.kauth.encode(),
            (self.kpublic or "").encode(),
            self.spki or b"",
            self.fingerprint,
            (self.device or "").encode(),
            self.step_seconds.to_bytes(4, "big"),
            self.digits.to_bytes(1, "big"),
            self.flags.to_bytes(2, "big"),
            (self.renews or "").encode(),
            self.package_sha256,
            _moment(self.created_at),
            _moment(self.valid_until),
            _moment(self.lapses_at),
            _moment(self.registered_at),
            _moment(self.ended_at),
            self.policy_version.to_bytes(4, "big"),
        )
        return tlv.sequence([(0x80 + number, value) for number, value in enumerate(values)])


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionBinding:
    """The values of a transaction that never change: who is asked to confirm what, until when, and who is told."""

    transaction: str
    application: str
    user: str
    kind: str
    title: str | None
    media_type: str
    size: int
    content_sha256: bytes
    digits: int
    offline: bool
    kpublic_required: bool
    callback_url: str | None
    created_at: datetime
    expires_at: datetime
    policy_version: int
    scoring: str

    def encode(self) -> bytes:
        """Return the TLV the binding key authenticates; an absent value is an empty one.

        Raises:
            ValueError, OverflowError: a value no gateway writes.
        """
        values = (
            _TRANSACTION,
            self.transaction.encode(),
            self.application.encode(),
            self.user.encode(),
            self.kind.encode(),
            (self.title or "").encode(),
            self.media_type.encode(),
            self.size.to_bytes(8, "big"),
            self.content_sha256,
            self.digits.to_bytes(1, "big"),
            bytes([self.offline, self.kpublic_required]),
            (self.callback_url or "").encode(),
            _moment(self.created_at),
            _moment(self.expires_at),
            self.policy_version.to_bytes(4, "big"),
            self.scoring.encode(),
        )
        return tlv.sequence([(0x80 + number, value) for number, value in enumerate(values)])


def _moment(moment: datetime | None) -> bytes:
    """Return whole microseconds since 1970 as 8 bytes, or nothing."""
    if moment is None:
        return b""
    return round(moment.timestamp() * 1_000_000).to_bytes(8, "big")
