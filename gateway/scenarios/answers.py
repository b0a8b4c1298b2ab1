"""How are answers that arrive together decided together: one gather, one turn at the device, one unit?

Only what is plain is decided here: the request is authenticated, its proofs are right, the user has no failures, and
nobody interferes. Whatever is not plain leaves without a trace, for whatever reason, and is asked again by itself
(``authentication``, ``confirmation``): only there is it decided what a refusal, a repeat or a collision means. So
nothing that one asks can spoil what the others get; what fails a batch as a whole sends all of it that way.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import structlog

from gateway.refusals import Outage, Refusal
from gateway.rules import transaction as transaction_rules
from gateway.rules.confirmation import Outcome
from gateway.rules.transaction import Transaction, TransactionStatus
from gateway.scenarios import authentication, confirmation, settling
from gateway.scenarios.authentication import Caller, ClientRequest, Facts, answer_proof
from gateway.scenarios.batching import Room
from gateway.scenarios.confirmation import ACTIONS, Answer
from gateway.scenarios.context import Context
from gateway.scenarios.deliveries import make_delivery
from gateway.scenarios.recording import record, use_requests
from gateway.store import applications, deliveries, keysets, transactions, users
from gateway.store.database import Connection
from gateway.store.transactions import Attempt
from gateway.wire.bodies import Decision
from gateway.wire.errors import WireError
from hsm.errors import DeviceUnavailable

_MOST = 32  # answers of a batch
_SLOW_SECONDS = 0.005  # of the device for one answer; with a slower one each takes a turn of its own
_log = structlog.get_logger("gateway")


class Written(Protocol):
    """An answer as it is sent: what the proof is about."""

    @property
    def status(self) -> int: ...  # noqa: D102
    @property
    def content_type(self) -> str: ...  # noqa: D102
    @property
    def body(self) -> bytes: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Decided:
    """What is told to the phone, and the gateway's own proof over it. It is durable."""

    reply: Any
    proof: bytes


@dataclass(frozen=True, slots=True)
class _Asked:
    request: ClientRequest
    decision: Decision


@dataclass(frozen=True, slots=True)
class _Proved:
    """A plain answer: who gave it, to what, and what the phone is told if it wins."""

    caller: Caller
    answer: Answer
    status: TransactionStatus
    decided: Decided

    @property
    def transaction(self) -> Transaction:
        return self.answer.transaction

    @property
    def user(self) -> tuple[str, str]:
        return self.caller.application.id, self.caller.user.user_id

    @property
    def mark(self) -> tuple[str, bytes]:
        return self.caller.keyset.id, self.caller.authcode

    @property
    def url(self) -> str | None:
        return self.transaction.callback_url or self.caller.application.callback_url


class Answers:
    """Decides answers to transactions in batches.

    Args:
        ctx: the context.
        write: says how a result is written as an answer (``Written``).
    """

    def __init__(self, ctx: Context, write: Callable[[dict[str, Any]], Written]) -> None:
        self._ctx = ctx
        self._write = write
        self._room: Room[_Asked, Decided | None] = Room(self._decide, _MOST)
        self._is_slow = False

    async def decide(self, request: ClientRequest) -> Decided | None:
        """Return what was decided, or None where nothing was and the request has to be asked by itself.

        Raises:
            Outage, hsm.errors.DeviceUnavailable: database or HSM are away; nothing was decided.
        """
        try:
            decision = Decision.read(request.envelope.body)
        except WireError:
            return None
        return await self._room.ask(_Asked(request, decision))

    async def _decide(self, batch: list[_Asked]) -> list[Decided | None]:
        won = await self._ctx.in_store_thread(partial(self._decide_here, batch))
        for proved in won.values():
            self._ctx.waiters.wake(proved.transaction.id)
        return [won[number].decided if number in won else None for number in range(len(batch))]

    def _decide_here(self, batch: list[_Asked]) -> dict[int, _Proved]:
        """Return what was decided, by its number in the batch. Runs in a thread."""
        now = self._ctx.clock.now()
        with self._ctx.database.reading() as connection:
            known = _gather(connection, batch)
        try:
            proved = _without_doubles(self._prove_all(batch, known, now))
            return _settle_all(self._ctx, proved, now)
        except DeviceUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one of them did it, and will be told when asked alone
            _log.warning("answers are decided one by one", answers=len(batch), why=type(error).__name__)
            return {}

    def _prove_all(
        self, batch: list[_Asked], known: Sequence["_Known"], now: datetime
    ) -> list[_Proved | None]:
        """Ask the device about all of it in one turn; a slow device about each in a turn of its own, side by side."""
        ctx, began = self._ctx, time.perf_counter()

        def alone(number: int) -> tuple[_Proved | None, float]:
            started = time.perf_counter()
            proved = ctx.device.together(
                lambda desk: _prove(ctx.at(desk), self._write, batch[number], known[number], now)
            )
            return proved, time.perf_counter() - started

        if self._is_slow:
            results, seconds = zip(*ctx.device_threads.map(alone, range(len(batch))), strict=True)
            self._is_slow = min(seconds) > _SLOW_SECONDS
            return list(results)
        found = ctx.device.together(
            lambda desk: [
                _prove(ctx.at(desk), self._write, asked, facts, now)
                for asked, facts in zip(batch, known, strict=True)
            ]
        )
        self._is_slow = (time.perf_counter() - began) / len(batch) > _SLOW_SECONDS
        return found


_Known = tuple[Facts | None, Transaction | None]


def _gather(connection: Connection, batch: Sequence[_Asked]) -> list[_Known]:
    pairs = keysets.find_with_users(connection, [asked.request.envelope.keyset for asked in batch])
    named = transactions.find_transactions(connection, [asked.decision.transaction for asked in batch])
    theirs = {keyset.application_id for keyset, _ in pairs.values()}
    found = applications.find_applications(connection, theirs)
    facts = {
        name: Facts(keyset, user, found[keyset.application_id]) for name, (keyset, user) in pairs.items()
    }
    return [
        (facts.get(asked.request.envelope.keyset), named.get(asked.decision.transaction)) for asked in batch
    ]


def _prove(
    ctx: Context,
    write: Callable[[dict[str, Any]], Written],
    asked: _Asked,
    known: _Known,
    now: datetime,
) -> _Proved | None:
    """Return the answer if it is plain. As much work for an unknown keyset as for a wrong code."""
    facts, transaction = known
    seen = authentication.prove(ctx, facts, asked.request)
    caller, _ = authentication.judge(facts, seen, asked.request, now)
    if caller is None or transaction is None or not _may_answer(caller, transaction):
        return None
    action = ACTIONS[caller.envelope.action]
    try:
        answer = confirmation.prove(ctx, caller, transaction, action, asked.decision)
    except (Refusal, WireError):
        return None
    if not answer.verdict.accepted:
        return None
    status = transaction_rules.next_status(TransactionStatus.PENDING, action)
    reply = write(confirmation.settled_view(transaction.id, status))
    # Made ahead, in the same turn: nobody sees it unless the answer is durable.
    proof = answer_proof(ctx, caller, reply.status, reply.content_type, reply.body)
    return _Proved(caller, answer, status, Decided(reply, proof))


def _may_answer(caller: Caller, transaction: Transaction) -> bool:
    theirs = (transaction.application_id, transaction.user_id) == (caller.application.id, caller.user.user_id)
    return theirs and caller.user.failures == 0 and transaction_rules.is_open(transaction, caller.now)


def _without_doubles(proved: Sequence[_Proved | None]) -> dict[int, _Proved]:
    """Return what is plain by its number; of one request and of one transaction only the first."""
    first: dict[int, _Proved] = {}
    seen: set[object] = set()
    for number, each in enumerate(proved):
        if each is not None and seen.isdisjoint({each.mark, each.transaction.id}):
            seen |= {each.mark, each.transaction.id}
            first[number] = each
    return first


class _Lost(Exception):
    """Some were not won after all; the unit ends without a trace and is run again without them."""

    def __init__(self, numbers: set[int]) -> None:
        super().__init__(f"{len(numbers)} lost")
        self.numbers = numbers


def _settle_all(ctx: Context, proved: dict[int, _Proved], now: datetime) -> dict[int, _Proved]:
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


def _settle(connection: Connection, proved: dict[int, _Proved], now: datetime) -> None:
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


def _keep(proved: dict[int, _Proved], is_won: Callable[[_Proved], bool]) -> None:
    lost = {number for number, each in proved.items() if not is_won(each)}
    if lost:
        raise _Lost(lost)


def _write_down(
    connection: Connection, won: Sequence[_Proved], numbers: dict[str, int], now: datetime
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
    each: _Proved, transaction: Transaction, attempt: Attempt, number: int, now: datetime
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
