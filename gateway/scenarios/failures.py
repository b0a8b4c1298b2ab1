"""How often may a user be wrong: one count for what phones send and what users hand over, and what follows from it."""

from datetime import datetime

from gateway.rules.event import EventType
from gateway.rules.transaction import CancelReason, Transaction, TransactionAction
from gateway.scenarios import settling
from gateway.scenarios.recording import Origin, make_event, record
from gateway.store import transactions, users
from gateway.store.applications import Application
from gateway.store.database import Connection


def count_failure(
    connection: Connection, application: Application, transaction: Transaction, origin: Origin, now: datetime
) -> int:
    """Count a failure of the user and of the transaction, in the unit of the refusal; the user's row is locked.

    A warning is recorded before the last one, and a transaction with too many is cancelled.

    Returns:
        How often the user failed in a row by now. Whoever sees the most allowed has the user blocked.
    """
    failures = count_user_failure(connection, application, transaction.user_id, origin, now)
    if transactions.count_failure(connection, transaction.id) >= application.policy.failures_most:
        action, reason = TransactionAction.EXHAUST, CancelReason.TOO_MANY_FAILURES
        settling.cancel(connection, application, transaction.id, action, reason, origin, now)
    return failures


def count_user_failure(
    connection: Connection, application: Application, user_id: str, origin: Origin, now: datetime
) -> int:
    """Do the same for a failure that belongs to no transaction."""
    failures = users.count_failure(connection, application.id, user_id)
    if failures == application.policy.failures_most - 1:
        event = make_event(
            EventType.USER_BLOCK_NEAR,
            "warning",
            now,
            origin,
            application_id=application.id,
            user_id=user_id,
            detail={"failures": failures},
        )
        record(connection, [event])
    return failures
