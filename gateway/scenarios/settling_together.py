"""What follows when right answers give several transactions their final states: one statement each for all of them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.rules.callback import CallbackType
from gateway.rules.transaction import Transaction, TransactionStatus
from gateway.scenarios import settling
from gateway.scenarios.deliveries import make_delivery
from gateway.scenarios.recording import Origin
from gateway.store import deliveries, transactions
from gateway.store.applications import Application
from gateway.store.database import Connection
from gateway.store.deliveries import Delivery
from gateway.store.events import Event
from gateway.store.transactions import Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Win:
    """A right answer, and the pending transaction that it settles if that is still there."""

    application: Application
    transaction: Transaction
    status: TransactionStatus  # the final one
    attempt: Attempt
    origin: Origin

    @property
    def url(self) -> str | None:
        """Where the callback goes; None if nobody is told."""
        return self.transaction.callback_url or self.application.callback_url

    def settled(self, now: datetime) -> Transaction:
        """Return the transaction as it is when it was settled at this moment."""
        return replace(self.transaction, status=self.status, settled_at=now)


def settle_in_time(connection: Connection, wins: Sequence[Win], now: datetime) -> dict[str, int]:
    """Settle those transactions that are still pending and in time; return how many callbacks each had, by id."""
    groups: defaultdict[tuple[TransactionStatus, bool], list[str]] = defaultdict(list)
    for win in wins:
        groups[win.status, win.url is not None].append(win.transaction.id)
    numbers: dict[str, int] = {}
    for (status, told), ids in groups.items():
        numbers |= transactions.settle_transactions(connection, ids, status, now, told=told)
    return numbers


def write_down(
    connection: Connection, wins: Sequence[Win], numbers: dict[str, int], now: datetime
) -> list[Event]:
    """Keep the answers and put their callbacks into the outbox; return the events that tell of them, to be recorded."""
    transactions.insert_attempts(connection, [win.attempt for win in wins])
    settled = [(win, win.settled(now)) for win in wins]
    told = [
        _delivery(win, win.url, transaction, numbers[transaction.id], now)
        for win, transaction in settled
        if win.url is not None
    ]
    deliveries.insert_deliveries(connection, told, now)
    return [settling.settled_event(transaction, win.attempt, win.origin, now) for win, transaction in settled]


def _delivery(win: Win, url: str, settled: Transaction, number: int, now: datetime) -> Delivery:
    return make_delivery(
        win.application,
        url,
        CallbackType(f"transaction.{settled.status}"),
        settling.settled_data(settled, win.attempt),
        now,
        transaction_id=settled.id,
        sequence=number,
    )
