"""Which requests of a batch are won, and what is written of them: all of it in one unit."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import structlog

from gateway.rules.confirmation import Outcome
from gateway.rules.transaction import Transaction, TransactionStatus
from gateway.scenarios import confirmation
from gateway.scenarios.authentication import Caller
from gateway.scenarios.confirmation import Answer
from gateway.scenarios.context import Context
from gateway.scenarios.phone_fetching import fetch_plain
from gateway.scenarios.phone_reading import pending_list, request_event, waiting_of
from gateway.scenarios.recording import record, use_requests
from gateway.scenarios.settling_together import Win, settle_in_time, write_down
from gateway.store import users
from gateway.store.database import Blocked, Collision, Connection
from gateway.store.events import Event
from gateway.wire.bodies import Content, Get

Reply = TypeVar("Reply")

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
class _Plain:
    """A plain request, and who asks."""

    caller: Caller

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
class Listed(_Plain):
    """A request for what waits, and what the phone is told if nothing does."""

    decided: Decided


@dataclass(frozen=True, slots=True)
class Fetched(_Plain):
    """A request for a transaction, or for its content."""

    wanted: Get | Content


@dataclass(frozen=True, slots=True)
class Answered(_Plain):
    """An answer: to what, and what the phone is told if it wins."""

    decided: Decided
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


Proved = Listed | Fetched | Answered
Told = dict[int, dict[str, Any] | bytes]  # what is told that was not made ahead, by the number in the batch


class _Lost(Exception):
    """Some were not won after all; the unit ends without a trace and is run again without them."""

    def __init__(self, numbers: set[int]) -> None:
        super().__init__(f"{len(numbers)} lost")
        self.numbers = numbers


def settle_all(
    ctx: Context, proved: dict[int, Proved], now: datetime, write: Callable[[dict[str, Any] | bytes], Reply]
) -> tuple[dict[int, Proved], dict[int, Reply]]:
    """Decide in one unit; return what was won, and what is told of it that was not made ahead.

    It is written as it is sent while nothing is durable yet: a row that cannot be told is found out then.

    Raises:
        Outage: the database is away; nobody knows whether the unit is durable.
    """
    while proved:
        try:
            with ctx.database.unit() as connection:
                told = _settle(connection, proved, now)
                return proved, {number: write(result) for number, result in told.items()}
        except _Lost as lost:
            proved = {number: each for number, each in proved.items() if number not in lost.numbers}
        except (Blocked, Collision) as outage:
            # Somebody holds a lock for too long: whoever does not need that row succeeds alone. After any other outage
            # the unit may be durable all the same, and asked once more each would look like a repeat.
            _log.warning("requests are decided one by one", requests=len(proved), why=str(outage))
            return {}, {}
    return {}, {}


def _settle(connection: Connection, proved: dict[int, Proved], now: datetime) -> Told:
    """Do for all what ``confirmation`` and ``phone_reading`` do for one, in the same order: marks, users, the rest."""
    fresh = use_requests(connection, [each.mark for each in proved.values()], now)
    _lose({number for number, each in proved.items() if each.mark not in fresh})
    answered = {number: each for number, each in proved.items() if isinstance(each, Answered)}
    free = users.lock_free_users(connection, {each.user for each in answered.values()})
    reading = {each.user for each in proved.values() if not isinstance(each, Answered)}
    seen = users.find_users(connection, reading - free.keys()) | free
    # A keyset changes only together with its user's version, so nothing of what was proved has changed.
    _lose({number for number, each in proved.items() if seen.get(each.user) != each.caller.user})
    told = _fetch(connection, proved)
    wins = [each.win for each in answered.values()]
    numbers = settle_in_time(connection, wins, now)
    _lose({number for number, each in answered.items() if each.transaction.id not in numbers})
    record(connection, [*write_down(connection, wins, numbers, now), *map(_event, _others(proved))])
    return told | _list(connection, proved, now)


def _fetch(connection: Connection, proved: dict[int, Proved]) -> Told:
    fetched = {
        number: (each.caller, each.wanted) for number, each in proved.items() if isinstance(each, Fetched)
    }
    if not fetched:
        return {}
    found = fetch_plain(connection, fetched)
    _lose(fetched.keys() - found.keys())
    return found


def _list(connection: Connection, proved: dict[int, Proved], now: datetime) -> Told:
    """Return the lists that have something in them."""
    listed = {number: each for number, each in proved.items() if isinstance(each, Listed)}
    waiting = waiting_of(connection, {each.user for each in listed.values()}, now)
    return {
        number: pending_list(each.caller, waiting[each.user])
        for number, each in listed.items()
        if waiting[each.user]
    }


def _others(proved: dict[int, Proved]) -> list[Listed | Fetched]:
    return [each for each in proved.values() if not isinstance(each, Answered)]


def _event(each: Listed | Fetched) -> Event:
    about = each.wanted.transaction if isinstance(each, Fetched) else None
    return request_event(each.caller, transaction_id=about)


def _lose(numbers: set[int]) -> None:
    if numbers:
        raise _Lost(numbers)
