"""Which answers of a batch are won, and what is written of them: all of it in one unit."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog

from gateway.refusals import Outage
from gateway.rules.confirmation import Outcome
from gateway.rules.transaction import Transaction, TransactionStatus
from gateway.scenarios import confirmation, settling
from gateway.scenarios.authentication import Caller
from gateway.scenarios.confirmation import Answer
from gateway.scenarios.context import Context
from gateway.scenarios.deliveries import make_delivery
from gateway.scenarios.recording import record, use_requests
from gateway.store import deliveries, transactions, users
from gateway.store.database import Connection
from gateway.store.transactions import Attempt

_log = structlog.get_logger("gateway")


@dataclass(frozen=True, slots=True)
class Decided:
    """What is told to the phone, and the gateway's own proof over it. It is durable."""

    reply: Any
    proof: bytes


@dataclass(frozen=True, slots=True)
class Proved:
    """A plain answer: who gave it, to what, and what the phone is told if it wins."""

    caller: Caller
    answer: Answer
    status: TransactionStatus
    decided: Decided

    @property
    def transaction(self) -> Transaction:
        """What is answered."""
        return self.answer.transaction

    @property
    def user(self) -> tuple[str, str]:
        """Whose row is locked."""
        return self.caller.application.id, self.caller.user.user_id

    @property
    def mark(self) -> tuple[str, bytes]:
        """What marks the request as used."""
        return self.caller.keyset.id, self.caller.authcode

    @property
    def url(self) -> str | None:
        """Where the callback goes; None if nobody is told."""
        return self.transaction.callback_url or self.caller.application.callback_url


class _Lost(Exception):
    """Some were not won after all; the unit ends without a trace and is run again without them."""

    def __init__(self, numbers: set[int]) -> None:
        super().__init__(f"{len(numbers)} lost")
        self.numbers = numbers


def settle_all(ctx: Context, proved: dict[int, Proved], now: datetime) -> dict[int, Proved]:
    """Decide in one unit and return what was won."""
    while proved:
        try:
            with ctx.database.unit() as connection:
                _settle(connection, proved, now)
        except _Lost as lost:
            proved = {number: each for number, each in proved.items() if number not in lost.numbers}
        except (
            Outage
        ) as outage:  # somebody holds a lock for too long: those that it does not concern go on alone
            _log.warning("answers are decided one by one", answers=len(proved), why=str(outage))
            return {}
        else:
            return proved
    return proved


def _settle(connection: Connection, proved: dict[int, Proved], now: datetime) -> None:
    """Do for all what ``confirmation`` does for one, in the same order: marks, users, states, and what follows."""
    fresh = use_requests(connection, [each.mark for each in proved.values()], now)
    _keep(proved, lambda each: each.mark in fresh)
    free = users.lock_free_users(connection, {each.user for each in proved.values()})
    # A keyset changes only together with its user's version, so nothing of what was proved has changed.
    _keep(proved, lambda each: free.get(each.user) == each.caller.user)
    groups: defaultdict[tuple[TransactionStatus, bool], list[str]] = defaultdict(list)
    for each in proved.values():
        groups[each.status, each.url is not None].append(each.transaction.id)
    numbers: dict[str, int] = {}
    for (status, told), ids in groups.items():
        numbers |= transactions.settle_transactions(connection, ids, status, now, told=told)
    _keep(proved, lambda each: each.transaction.id in numbers)
    _write_down(connection, list(proved.values()), numbers, now)


def _keep(proved: dict[int, Proved], is_won: Callable[[Proved], bool]) -> None:
    lost = {number for number, each in proved.items() if not is_won(each)}
    if lost:
        raise _Lost(lost)


def _write_down(
    connection: Connection, won: Sequence[Proved], numbers: dict[str, int], now: datetime
) -> None:
    attempts = [confirmation.attempt_of(each.caller, each.answer, Outcome.ACCEPTED) for each in won]
    settled = [replace(each.transaction, status=each.status, settled_at=now) for each in won]
    transactions.insert_attempts(connection, attempts)
    record(
        connection,
        [
            settling.settled_event(transaction, attempt, each.caller.origin, now)
            for each, transaction, attempt in zip(won, settled, attempts, strict=True)
        ],
    )
    told = [
        _delivery(each, transaction, attempt, numbers[transaction.id], now)
        for each, transaction, attempt in zip(won, settled, attempts, strict=True)
        if each.url is not None
    ]
    deliveries.insert_deliveries(connection, told, now)


def _delivery(
    each: Proved, transaction: Transaction, attempt: Attempt, number: int, now: datetime
) -> deliveries.Delivery:
    assert each.url is not None
    return make_delivery(
        each.caller.application,
        each.url,
        f"transaction.{transaction.status}",
        settling.settled_data(transaction, attempt),
        now,
        transaction_id=transaction.id,
        sequence=number,
    )
