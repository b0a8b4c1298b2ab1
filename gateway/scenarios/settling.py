"""What follows when a transaction gets its final state: events, callback, and cancelling without an answer."""

from datetime import datetime
from typing import Any

from gateway.rules import transaction as rules
from gateway.rules.callback import CallbackType
from gateway.rules.event import EventType
from gateway.rules.transaction import CancelReason, Transaction, TransactionAction, TransactionStatus
from gateway.scenarios.deliveries import enqueue
from gateway.scenarios.recording import Origin, make_event, record
from gateway.scenarios.representation import attempt_view, decisive_of, summary_view
from gateway.store import transactions
from gateway.store.applications import Application
from gateway.store.database import Connection
from gateway.store.events import Event
from gateway.store.transactions import Attempt


def subject(
    application_id: str, transaction: Transaction, keyset_id: str | None = None
) -> dict[str, str | None]:
    """Return the ids an event about the transaction carries."""
    return {
        "application_id": application_id,
        "user_id": transaction.user_id,
        "transaction_id": transaction.id,
        "keyset_id": keyset_id,
    }


def decisive_attempt(connection: Connection, transaction_id: str) -> Attempt | None:
    """Return the attempt that settled the transaction, or None."""
    return decisive_of(transactions.attempts_of(connection, [transaction_id])[transaction_id])


def announce(
    connection: Connection,
    application: Application,
    transaction_id: str,
    origin: Origin,
    now: datetime,
    scoring: dict[str, Any] | None = None,
) -> tuple[Transaction, list[Attempt]]:
    """Record the final state and put its callback into the outbox, in the unit that settled it.

    Returns the transaction as it is now, with every attempt at it.
    """
    transaction = transactions.find_transaction(connection, application.id, transaction_id)
    assert transaction is not None
    attempts = transactions.attempts_of(connection, [transaction_id])[transaction_id]
    decisive = decisive_of(attempts)
    record(connection, [settled_event(transaction, decisive, origin, now)])
    enqueue(
        connection,
        application,
        CallbackType(f"transaction.{transaction.status}"),
        settled_data(transaction, decisive) | ({} if scoring is None else {"scoring": scoring}),
        now,
        transaction_id=transaction.id,
        url=transaction.callback_url,
    )
    return transaction, attempts


def settled_event(transaction: Transaction, decisive: Attempt | None, origin: Origin, now: datetime) -> Event:
    """Return the event that tells of the final state."""
    return make_event(
        EventType.TRANSACTION_SETTLED,
        transaction.status,
        now,
        origin,
        reason=transaction.reason,
        detail={"device": decisive.device} if decisive else {},
        **subject(transaction.application_id, transaction, decisive.keyset_id if decisive else None),
    )


def settled_data(transaction: Transaction, decisive: Attempt | None) -> dict[str, Any]:
    """Return what the callback of the final state tells."""
    return {
        "transaction": summary_view(transaction),
        "confirmation": attempt_view(decisive) if decisive else None,
        "receipt": decisive.receipt if decisive else None,
    }


def cancel(
    connection: Connection,
    application: Application,
    transaction_id: str,
    action: TransactionAction,
    reason: CancelReason | str,
    origin: Origin,
    now: datetime,
    scoring: dict[str, Any] | None = None,
) -> bool:
    """Cancel a pending transaction, with everything that follows; False if it was settled already.

    ``scoring`` is that of the answer because of which it is cancelled, for the callback.
    """
    status = rules.next_status(TransactionStatus.PENDING, action)
    won = transactions.settle_transaction(
        connection, transaction_id, status=status, reason=reason, now=now, before_expiry=False
    )
    if won:
        announce(connection, application, transaction_id, origin, now, scoring)
    return won
