"""Does the HSM vouch for a row: making and checking the MACs that bind keysets and transactions."""

import hmac
from dataclasses import replace
from datetime import datetime

from gateway.refusals import Refusal
from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset
from gateway.rules.transaction import Transaction
from gateway.rules.user import UserStatus
from gateway.scenarios.context import Context
from gateway.scenarios.recording import Origin, make_event
from gateway.store.events import Event
from gateway.wire.binding import KeysetBinding, TransactionBinding
from hsm.errors import KeyMissing

NO_BINDING = bytes(256)  # about as long as a real one, so that where there is none it costs as much


def binding_input(keyset: Keyset, user_status: UserStatus) -> bytes:
    """Return the bytes under the MAC: everything of the row that decisions rest on."""
    return KeysetBinding(
        application=keyset.application_id,
        user=keyset.user_id,
        user_status=user_status,
        keyset=keyset.id,
        keyset_status=keyset.status,
        delivery=keyset.delivery,
        khmac=keyset.khmac,
        kauth=keyset.kauth,
        kpublic=keyset.kpublic,
        spki=keyset.spki,
        fingerprint=keyset.fingerprint,
        device=keyset.device_id,
        step_seconds=keyset.step_seconds,
        digits=keyset.digits,
        flags=keyset.flags,
        renews=keyset.renews,
        package_sha256=keyset.package_sha256,
        created_at=keyset.created_at,
        valid_until=keyset.valid_until,
        lapses_at=keyset.lapses_at,
        registered_at=keyset.registered_at,
        ended_at=keyset.ended_at,
        policy_version=keyset.policy_version,
    ).encode()


def bind(ctx: Context, keyset: Keyset, user_status: UserStatus) -> Keyset:
    """Return the keyset with a fresh MAC. Talks to the device."""
    version, key = ctx.keys.binding.current
    mac = ctx.device.mac(key, binding_input(keyset, user_status))
    return replace(keyset, binding=mac, binding_version=version)


def is_bound(ctx: Context, keyset: Keyset, user_status: UserStatus) -> bool:
    """Say whether the row is the one the HSM vouched for. Talks to the device, also for a row of odd values."""
    try:
        over = binding_input(keyset, user_status)
    except (AttributeError, OverflowError, TypeError, ValueError):  # SQLite keeps values of any type
        ctx.device.mac(ctx.keys.binding.current[1], NO_BINDING)
        return False
    return _is_mac(ctx, over, keyset)


def is_remembered(ctx: Context, keyset: Keyset, user_status: UserStatus) -> bool:
    """Say whether the HSM vouched for exactly this row before, under a key that is still there."""
    return ctx.vouched.knows(keyset, user_status) and ctx.keys.binding.of(keyset.binding_version) is not None


def _is_mac(ctx: Context, over: bytes, row: Keyset | Transaction) -> bool:
    """Say whether the row has the MAC over these bytes, by the version of the key that it names."""
    key = ctx.keys.binding.of(row.binding_version)
    if key is None:
        ctx.device.mac(ctx.keys.binding.current[1], over)
        return False
    try:
        mac = ctx.device.mac(key, over)
    except KeyMissing:  # destroyed a moment ago, when no row of ours used it any more
        return False
    return hmac.compare_digest(mac, row.binding)


class BrokenBinding(Refusal):
    """``integrity_failure``: a row is not the one the HSM vouched for, and nothing is decided on it."""

    def __init__(self, row: Keyset | Transaction) -> None:
        super().__init__("integrity_failure", f"{row.id} is not the one the HSM vouched for")
        self.row = row


def require_bound(ctx: Context, keyset: Keyset, user_status: UserStatus) -> None:
    """Raise BrokenBinding unless the row is the one the HSM vouched for. Talks to the device."""
    if not is_bound(ctx, keyset, user_status):
        raise BrokenBinding(keyset)


def alarm(row: Keyset | Transaction, now: datetime, origin: Origin) -> Event:
    """Return the event that tells of a row the HSM did not vouch for."""
    is_keyset = isinstance(row, Keyset)
    return make_event(
        EventType.BINDING_BROKEN if is_keyset else EventType.TRANSACTION_BROKEN,
        "alarm",
        now,
        origin,
        application_id=row.application_id,
        user_id=row.user_id,
        keyset_id=row.id if is_keyset else None,
        transaction_id=None if is_keyset else row.id,
    )


def bind_transaction(ctx: Context, transaction: Transaction) -> Transaction:
    """Return the transaction with its MAC. Talks to the device."""
    version, key = ctx.keys.binding.current
    mac = ctx.device.mac(key, transaction_input(transaction))
    return replace(transaction, binding=mac, binding_version=version)


def require_bound_transaction(ctx: Context, transaction: Transaction) -> None:
    """Raise BrokenBinding unless the row is the one the HSM vouched for. Talks to the device."""
    try:
        over = transaction_input(transaction)
    except (AttributeError, OverflowError, TypeError, ValueError):  # SQLite keeps values of any type
        raise BrokenBinding(transaction) from None
    if not _is_mac(ctx, over, transaction):
        raise BrokenBinding(transaction)


def transaction_input(transaction: Transaction) -> bytes:
    """Return the bytes under a transaction's MAC: everything of the row that never changes."""
    return TransactionBinding(
        transaction=transaction.id,
        application=transaction.application_id,
        user=transaction.user_id,
        kind=transaction.kind,
        title=transaction.title,
        media_type=transaction.media_type,
        size=transaction.size,
        content_sha256=transaction.content_sha256,
        digits=transaction.digits,
        offline=transaction.offline,
        kpublic_required=transaction.kpublic_required,
        callback_url=transaction.callback_url,
        created_at=transaction.created_at,
        expires_at=transaction.expires_at,
        policy_version=transaction.policy_version,
        scoring=transaction.scoring,
    ).encode()
