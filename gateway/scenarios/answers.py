"""How are answers that arrive together decided together: one gather, one turn at the device, one unit?

Only what is plain is decided here: the request is authenticated, its proofs are right, the user has no failures, and
nobody interferes. Whatever is not plain leaves without a trace, for whatever reason, and is asked again by itself
(``authentication``, ``confirmation``): only there is it decided what a refusal, a repeat or a collision means. So
nothing that one asks can spoil what the others get; what fails a batch as a whole sends all of it that way.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from threading import Lock
from typing import Any, Protocol

import structlog

from gateway.refusals import Outage, Refusal
from gateway.rules import transaction as transaction_rules
from gateway.rules.transaction import Transaction, TransactionStatus
from gateway.scenarios import authentication, confirmation, keynames
from gateway.scenarios.authentication import Caller, ClientRequest, Facts, answer_proof
from gateway.scenarios.batching import Room
from gateway.scenarios.confirmation import ACTIONS
from gateway.scenarios.context import Context
from gateway.scenarios.scored import is_scored
from gateway.scenarios.winning import Decided, Proved, settle_all
from gateway.store import applications, keysets, transactions
from gateway.store.database import Connection
from gateway.wire.bodies import Decision
from gateway.wire.errors import WireError
from hsm.desk import Desk
from hsm.errors import DeviceUnavailable, KeyElsewhere

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
class _Asked:
    request: ClientRequest
    decision: Decision


class Answers:
    """Decides answers to transactions in batches.

    Args:
        ctx: the context.
        write: says how a result is written as an answer (``Written``).
        at_once: how many batches may be under way. With two, one is with the device while the other is with the
            database, at the price of smaller batches; on two crowded cores that took more CPU (see the docs).
    """

    def __init__(self, ctx: Context, write: Callable[[dict[str, Any]], Written], at_once: int = 1) -> None:
        self._ctx = ctx
        self._write = write
        self._room: Room[_Asked, Decided | None] = Room(self._decide, most=_MOST, at_once=at_once)
        self._settling = Lock()  # else SQLite makes the second wait by sleeping
        self._seconds: deque[float] = deque(maxlen=20)  # of the device for one answer, in the last batches

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

    def _decide_here(self, batch: list[_Asked]) -> dict[int, Proved]:
        """Return what was decided, by its number in the batch. Runs in a thread."""
        now = self._ctx.clock.now()
        try:
            with self._ctx.database.reading() as connection:
                known = _gather(connection, batch)
            proved = _without_doubles(self._prove_all(batch, known, now))
            with self._settling:
                return settle_all(self._ctx, proved, now)
        except KeyElsewhere:  # of one of them; the others' keys may well be there
            return {}
        except (DeviceUnavailable, Outage):
            raise
        except Exception as error:  # noqa: BLE001 - one of them did it, and will be told when asked alone
            _log.warning("answers are decided one by one", answers=len(batch), why=type(error).__name__)
            return {}

    def _prove_all(
        self, batch: list[_Asked], known: Sequence["_Known"], now: datetime
    ) -> list[Proved | None]:
        """Ask the device about all of it in one turn; a slow device about each in a turn of its own, side by side."""
        ctx = self._ctx

        def prove(numbers: Sequence[int]) -> list[Proved | None]:
            began = time.perf_counter()
            keys = [
                key for n in numbers if (facts := known[n][0]) for key in keynames.fleeting_of(facts.keyset)
            ]
            proved = ctx.device.together(
                partial(_prove_here, ctx, self._write, [(batch[n], known[n]) for n in numbers], now), keys
            )
            self._seconds.append((time.perf_counter() - began) / len(numbers))
            return proved

        is_slow = min(self._seconds, default=0.0) > _SLOW_SECONDS  # a busy machine has quick moments, too
        if not is_slow:
            return prove(range(len(batch)))
        return list(chain.from_iterable(ctx.device_threads.map(prove, ([n] for n in range(len(batch))))))


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


def _prove_here(
    ctx: Context,
    write: Callable[[dict[str, Any]], Written],
    batch: Sequence[tuple[_Asked, _Known]],
    now: datetime,
    desk: Desk,
) -> list[Proved | None]:
    turn = ctx.at(desk)
    return [_prove(turn, write, asked, known, now) for asked, known in batch]


def _prove(
    ctx: Context,
    write: Callable[[dict[str, Any]], Written],
    asked: _Asked,
    known: _Known,
    now: datetime,
) -> Proved | None:
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
    return Proved(caller, answer, status, Decided(reply, proof))


def _may_answer(caller: Caller, transaction: Transaction) -> bool:
    theirs = (transaction.application_id, transaction.user_id) == (caller.application.id, caller.user.user_id)
    plain = caller.user.failures == 0 and not is_scored(caller.application.policy, transaction)
    return theirs and plain and transaction_rules.is_open(transaction, caller.now)


def _without_doubles(proved: Sequence[Proved | None]) -> dict[int, Proved]:
    """Return what is plain by its number; of one request and of one transaction only the first."""
    first: dict[int, Proved] = {}
    seen: set[object] = set()
    for number, each in enumerate(proved):
        if each is not None and seen.isdisjoint({each.mark, each.transaction.id}):
            seen |= {each.mark, each.transaction.id}
            first[number] = each
    return first
