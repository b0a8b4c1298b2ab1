"""Which requests of a batch are won, and what is written of them: all of it in one unit."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from gateway.rules.confirmation import Outcome
from gateway.rules.transaction import Transaction, TransactionStatus
from gateway.scenarios import confirmation
from gateway.scenarios.authentication import Caller
from gateway.scenarios.confirmation import Answer
from gateway.scenarios.context import Context
from gateway.scenarios.phone_reading import pending_list, request_event, waiting_of
from gateway.scenarios.recording import record, use_requests
from gateway.scenarios.settling_together import Win, settle_in_time, write_down
from gateway.store import users
from gateway.store.database import Blocked, Collision, Connection

_log = structlog.get_logger("gateway")


@dataclass(frozen=True, slots=True)
class Decided:
    """What is told to the phone, and the gateway's own proof over it. It is durable.

    ``proof`` is None where it has still to be made. ``is_final`` is False where the phone may wait for more than there
    is: this is told when nothing comes.
    """

    caller: Caller
    reply: Any
    proof: bytes | None
    is_final: bool = True


@dataclass(frozen=True, slots=True)
class Listed:
    """A plain request for what waits."""

    decided: Decided

    @property
    def caller(self) -> Caller:
        """Who asks."""
        return self.decided.caller

    @property
    def user(self) -> tuple[str, str]:
        """Whose row must be as it was."""
        return self.caller.application.id, self.caller.user.user_id

    @property
    def mark(self) -> tuple[str, bytes]:
        """What marks the request as used."""
        return self.caller.keyset.id, self.caller.authcode

    @property
    def only_once(self) -> set[object]:
        """What a batch may have once."""
        return {self.mark}


@dataclass(frozen=True, slots=True)
class Answered(Listed):
    """A plain answer: to what, and what the phone is told if it wins."""

    answer: Answer
    status: TransactionStatus

    @property
    def transaction(self) -> Transaction:
        """What is answered."""
        return self.answer.transaction

    @property
    def only_once(self) -> set[object]:
        """What a batch may have once."""
        return {self.mark, self.transaction.id}

    @property
    def win(self) -> Win:
        """What is kept and told of it if it wins."""
        return Win(
            application=self.caller.application,
            transaction=self.transaction,
            status=self.status,
            attempt=confirmation.attempt_of(self.caller, self.answer, Outcome.ACCEPTED),
            origin=self.caller.origin,
        )


Proved = Listed | Answered
Lists = dict[int, dict[str, Any]]  # what is told, by the number in the batch


class _Lost(Exception):
    """Some were not won after all; the unit ends without a trace and is run again without them."""

    def __init__(self, numbers: set[int]) -> None:
        super().__init__(f"{len(numbers)} lost")
        self.numbers = numbers


def settle_all(ctx: Context, proved: dict[int, Proved], now: datetime) -> tuple[dict[int, Proved], Lists]:
    """Decide in one unit; return what was won, and the lists that have something in them.

    Raises:
        Outage: the database is away; nobody knows whether the unit is durable.
    """
    while proved:
        try:
            with ctx.database.unit() as connection:
                return proved, _settle(connection, proved, now)
        except _Lost as lost:
            proved = {number: each for number, each in proved.items() if number not in lost.numbers}
        except (Blocked, Collision) as outage:
            # Somebody holds a lock for too long: whoever does not need that row succeeds alone. After any other outage
            # the unit may be durable all the same, and asked once more each would look like a repeat.
            _log.warning("requests are decided one by one", requests=len(proved), why=str(outage))
            return {}, {}
    return {}, {}


def _settle(connection: Connection, proved: dict[int, Proved], now: datetime) -> Lists:
    """Do for all what ``confirmation`` and ``phone_reading`` do for one, in the same order: marks, users, the rest."""
    fresh = use_requests(connection, [each.mark for each in proved.values()], now)
    _keep(proved, lambda each: each.mark in fresh)
    answered = [each for each in proved.values() if isinstance(each, Answered)]
    listed = {number: each for number, each in proved.items() if not isinstance(each, Answered)}
    free = users.lock_free_users(connection, {each.user for each in answered})
    seen = users.find_users(connection, {each.user for each in listed.values()} - free.keys()) | free
    # A keyset changes only together with its user's version, so nothing of what was proved has changed.
    _keep(proved, lambda each: seen.get(each.user) == each.caller.user)
    wins = [each.win for each in answered]
    numbers = settle_in_time(connection, wins, now)
    _keep(proved, lambda each: not isinstance(each, Answered) or each.transaction.id in numbers)
    settled = write_down(connection, wins, numbers, now)
    record(connection, [*settled, *(request_event(each.caller) for each in listed.values())])
    # What a phone is told is made here: a row that cannot be told is found out while nothing is durable yet.
    return {
        number: pending_list(each.caller, found)
        for number, each in listed.items()
        if (found := waiting_of(connection, *each.user, now))
    }


def _keep(proved: dict[int, Proved], is_won: Callable[[Proved], bool]) -> None:
    lost = {number for number, each in proved.items() if not is_won(each)}
    if lost:
        raise _Lost(lost)
