"""What does the outside see of a record: the JSON of users, keysets, transactions and events.

Used by the application door and by callbacks, so that both say the same.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from gateway.rules.confirmation import OFFLINE, Outcome
from gateway.rules.device import Device
from gateway.rules.keyset import Keyset, KeysetStatus
from gateway.rules.policy import Flag, Policy
from gateway.rules.transaction import Transaction, TransactionStatus
from gateway.rules.user import User
from gateway.store.authentications import Authentication
from gateway.store.events import Event
from gateway.store.transactions import Attempt
from gateway.store.uploads import Upload
from gateway.wire import base64s
from gateway.wire.timestep import format_time


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)


def user_view(user: User, keysets: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a user with the keysets it ever had."""
    return {
        "id": user.user_id,
        "status": user.status,
        "reason": user.reason,
        "failures": user.failures,
        "settings": dict(user.settings or {}),
        "created_at": _time(user.created_at),
        "keysets": list(keysets),
    }


def keyset_view(keyset: Keyset, device: Device | None) -> dict[str, Any]:
    """Return a keyset without its handles."""
    return {
        "id": keyset.id,
        "user": keyset.user_id,
        "status": keyset.status,
        "delivery": keyset.delivery,
        "renews": keyset.renews,
        "flags": [str(flag.name).lower() for flag in Flag if flag & keyset.flags],
        "policy_version": keyset.policy_version,
        "created_at": _time(keyset.created_at),
        "valid_until": _time(keyset.valid_until),
        "lapses_at": _time(keyset.lapses_at),
        "registered_at": _time(keyset.registered_at),
        "ended_at": _time(keyset.ended_at),
        "kpublic": None if keyset.spki is None else base64s.encode(keyset.spki),
        "device": None if device is None else _phone_view(device, keyset),
    }


def device_view(device: Device, keysets: Sequence[Keyset]) -> dict[str, Any]:
    """Return a device, with the keys that it answers with now; ``keysets`` are those of its user."""
    used = next((each for each in reversed(keysets) if each.device_id == device.id and _serves(each)), None)
    return {
        "id": device.id,
        "user": device.user_id,
        "status": device.status,
        "push": device.push_provider,
        "keyset": None if used is None else used.id,
        "fingerprint": None if used is None else base64s.encode(used.fingerprint),
        "created_at": _time(device.created_at),
        "registered_at": _time(device.registered_at),
        "removed_at": _time(device.removed_at),
    }


def _serves(keyset: Keyset) -> bool:
    """Say whether the phone answers with the keyset: a registered one, or one that need not be registered."""
    unregistered = keyset.status is KeysetStatus.ISSUED and keyset.lapses_at is None
    return keyset.status is KeysetStatus.ACTIVE or unregistered


def _phone_view(device: Device, keyset: Keyset) -> dict[str, Any]:
    return {
        "id": device.id,
        "fingerprint": base64s.encode(keyset.fingerprint),
        "push": device.push_provider,
    }


def transaction_view(transaction: Transaction, attempts: Sequence[Attempt] = ()) -> dict[str, Any]:
    """Return a transaction with the answer that settled it and every attempt."""
    decisive = decisive_of(attempts)
    return summary_view(transaction) | {
        "confirmation": None if decisive is None else attempt_view(decisive),
        "attempts": [attempt_view(attempt) for attempt in attempts],
        "receipt": None if decisive is None else decisive.receipt,
    }


def decisive_of(attempts: Sequence[Attempt]) -> Attempt | None:
    """Return the attempt that settled their transaction, or None."""
    return next((each for each in attempts if each.outcome == Outcome.ACCEPTED), None)


def summary_view(transaction: Transaction) -> dict[str, Any]:
    """Return a transaction without its attempts, as callbacks carry it."""
    return {
        "id": transaction.id,
        "user": transaction.user_id,
        "kind": transaction.kind,
        "status": transaction.status,
        "reason": transaction.reason,
        "title": transaction.title,
        "media_type": transaction.media_type,
        "size": transaction.size,
        "content_sha256": base64s.encode(transaction.content_sha256),
        "digits": transaction.digits,
        "offline": transaction.offline,
        "scoring": transaction.scoring,
        "kpublic_required": transaction.kpublic_required,
        "policy_version": transaction.policy_version,
        "created_at": _time(transaction.created_at),
        "expires_at": _time(transaction.expires_at),
        "settled_at": _time(transaction.settled_at),
    }


def created_view(transaction: Transaction) -> dict[str, Any]:
    """Return the transaction as it was when it was created: what a repeated creation gets."""
    view = transaction_view(transaction)
    return view | {"status": TransactionStatus.PENDING, "reason": None, "settled_at": None}


def upload_view(upload: Upload) -> dict[str, Any]:
    """Return content that was handed in by itself, for a transaction to come."""
    assert upload.content_sha256 is not None
    return {
        "id": upload.id,
        "media_type": upload.media_type,
        "size": upload.size,
        "content_sha256": base64s.encode(upload.content_sha256),
        "created_at": _time(upload.created_at),
        "expires_at": _time(upload.expires_at),
    }


def attempt_view(attempt: Attempt) -> dict[str, Any]:
    """Return one attempt with what was presented and what was verified."""
    return {
        "id": attempt.id,
        "operation": attempt.operation,
        "channel": attempt.channel,
        "keyset": attempt.keyset_id,
        "device_id": attempt.device_id,
        "step": attempt.step,
        "code": code_view(attempt),
        "signature": None if attempt.signature is None else base64s.encode(attempt.signature),
        "verified": list(attempt.verified),
        "outcome": attempt.outcome,
        "scoring": attempt.scoring,
        "device": attempt.device,
        "at": _time(attempt.created_at),
    }


def code_view(shown: Attempt | Authentication) -> str:
    """Return digits as they are and a full code in base64; the row is under no MAC and may say anything."""
    is_short = shown.channel == OFFLINE and shown.code.isdigit()
    return shown.code.decode() if is_short else base64s.encode(shown.code)


def authentication_view(made: Authentication) -> dict[str, Any]:
    """Return an authentication by content that a phone made."""
    return {
        "id": made.id,
        "user": made.user_id,
        "rule": made.rule,
        "channel": made.channel,
        "keyset": made.keyset_id,
        "media_type": made.media_type,
        "content_sha256": base64s.encode(made.content_sha256),
        "step": made.step,
        "code": code_view(made),
        "signature": None if made.signature is None else base64s.encode(made.signature),
        "verified": list(made.verified),
        "device": made.device,
        "scoring": made.scoring,
        "at": _time(made.created_at),
    }


def pending_view(transaction: Transaction, policy: Policy) -> dict[str, Any]:
    """Return what a phone is told of a transaction (wire reference, `transactions.get`).

    ``policy`` is the one in force: it takes back its leave for short codes at once.
    """
    return {
        "transaction": transaction.id,
        "kind": transaction.kind,
        "title": transaction.title,
        "media_type": transaction.media_type,
        "size": transaction.size,
        "content_sha256": base64s.encode(transaction.content_sha256),
        "created": _time(transaction.created_at),
        "expires": _time(transaction.expires_at),
        "digits": transaction.digits,
        "offline": transaction.offline and policy.offline_allowed,
    }


def event_view(number: int, event: Event) -> dict[str, Any]:
    """Return one line of the log."""
    return {
        "number": number,
        "id": event.id,
        "type": event.type,
        "result": event.result,
        "reason": event.reason,
        "user": event.user_id,
        "keyset": event.keyset_id,
        "transaction": event.transaction_id,
        "action": event.action,
        "address": event.address,
        "body_sha256": None if event.body_sha256 is None else base64s.encode(event.body_sha256),
        "authcode": None if event.authcode is None else base64s.encode(event.authcode),
        "detail": event.detail,
        "request": event.request_id,
        "at": _time(event.created_at),
    }
