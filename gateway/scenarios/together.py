"""How are plain requests of phones that arrive together served together: one gather, one turn at the device, one unit?

These are answers to transactions, lists of what waits, and readings of it. Only what is plain is decided here: the
request is authenticated, its proofs are right, the user has no failures, and nobody interferes. Any other request
leaves without a trace and is asked again by itself (``authentication``, ``confirmation``, ``phone_reading``). Only
there is it decided what a refusal, a repeat or a collision means. So no request can spoil what the others get, and if a
batch fails as a whole, each of it is asked by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import structlog

from gateway.refusals import Outage, Refusal
from gateway.rules import transaction as transaction_rules
from gateway.rules.transaction import Transaction, TransactionStatus
from gateway.scenarios import authentication, confirmation, keynames, phone_reading
from gateway.scenarios.authentication import Caller, ClientRequest, Facts, answer_proof
from gateway.scenarios.batching import Room
from gateway.scenarios.context import Context
from gateway.scenarios.scored import is_scored
from gateway.scenarios.winning import Answered, Decided, Fetched, Listed, Proved, settle_all
from gateway.store import applications, keysets, transactions
from gateway.store.database import Connection
from gateway.wire.bodies import Content, Decision, Get, Pending
from gateway.wire.errors import WireError
from hsm.errors import DeviceUnavailable, KeyElsewhere
from hsm.keys import FleetingRef

_MOST = 32  # requests of a batch
_WAITING_MOST = 2048  # requests: some seconds of work, and more than a thousand phones that come back at once
_PATIENCE_SECONDS = 0.1  # of a phone that will wait for much longer
_Body = Decision | Pending | Get | Content
_READ: Mapping[str, Callable[[Mapping[str, object]], _Body]] = {
    **dict.fromkeys(confirmation.ACTIONS, Decision.read),
    phone_reading.PENDING: Pending.read,
    phone_reading.GET: Get.read,
    phone_reading.CONTENT: Content.read,
}
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
    body: _Body


class Together:
    """Decides plain requests in batches.

    Args:
        ctx: the context.
        write: says how a result, JSON or bytes, is written as an answer (``Written``).
        at_once: how many batches may be under way. With two, one is with the device while the other is with the
            database, at the price of smaller batches; on two crowded cores that took more CPU (see the docs).
    """

    def __init__(
        self, ctx: Context, write: Callable[[dict[str, Any] | bytes], Written], at_once: int = 1
    ) -> None:
        self._ctx = ctx
        self._write = write
        self._room: Room[_Asked, Decided | None] = Room(
            self._decide, most=_MOST, at_once=at_once, waiting_most=_WAITING_MOST
        )

    async def decide(self, request: ClientRequest) -> Decided | None:
        """Return what was decided, or None where nothing was and the request has to be asked by itself.

        Raises:
            Outage, hsm.errors.DeviceUnavailable: database or HSM are away, or too much waits; nothing was decided.
        """
        read = _READ.get(request.envelope.action)
        if read is None:
            return None
        try:
            body = read(request.envelope.body)
        except WireError:
            return None
        is_patient = isinstance(body, Pending) and body.wait
        return await self._room.ask(_Asked(request, body), _PATIENCE_SECONDS if is_patient else 0.0)

    async def _decide(self, batch: list[_Asked]) -> list[Decided | None]:
        won, decided = await self._ctx.in_store_thread(partial(self._decide_here, batch))
        for proved in won.values():
            if isinstance(proved, Answered):
                self._ctx.waiters.wake(proved.transaction.id)
        return [decided.get(number) for number in range(len(batch))]

    def _decide_here(self, batch: list[_Asked]) -> tuple[dict[int, Proved], dict[int, Decided]]:
        """Return what was won, and what is told of it, by numbers in the batch. Runs in a thread."""
        now = self._ctx.clock.now()
        try:
            with self._ctx.database.reading() as connection:
                known = _gather(connection, batch)
            proved = _without_doubles(self._prove_all(batch, known, now))
            won, told = settle_all(self._ctx, proved, now, self._write)
        except KeyElsewhere:  # of one of them; the others' keys may well be there
            return {}, {}
        except (DeviceUnavailable, Outage):
            raise
        except Exception as error:  # noqa: BLE001 - one of them did it, and will be told when asked alone
            _log.warning("requests are decided one by one", requests=len(batch), why=type(error).__name__)
            return {}, {}
        # From here on all of it is durable, and whatever is asked once more would look like a repeat.
        ahead = {number: each.decided for number, each in won.items() if not isinstance(each, Fetched)}
        return won, ahead | self._prove_told({number: (won[number].caller, told[number]) for number in told})

    def _prove_told(self, told: dict[int, tuple[Caller, Written]]) -> dict[int, Decided]:
        """Return what is told with its proof."""
        proofs = self._proofs([*told.values()])
        return {
            number: Decided(caller, reply, proof)
            for (number, (caller, reply)), proof in zip(told.items(), proofs, strict=True)
        }

    def _proofs(self, written: Sequence[tuple[Caller, Written]]) -> Sequence[bytes | None]:
        def prove(ctx: Context, pair: tuple[Caller, Written]) -> bytes:
            caller, reply = pair
            return answer_proof(ctx, caller, reply.status, reply.content_type, reply.body)

        try:
            return self._ctx.in_turns(
                "proofs", prove, written, lambda pair: keynames.fleeting_of(pair[0].keyset)
            )
        except Exception as error:  # noqa: BLE001 - whom it concerns is told when the answer is proved by itself
            _log.warning("answers are proved one by one", answers=len(written), why=type(error).__name__)
            return [None] * len(written)

    def _prove_all(
        self, batch: list[_Asked], known: Sequence["_Known"], now: datetime
    ) -> list[Proved | None]:
        def prove(ctx: Context, pair: tuple[_Asked, "_Known"]) -> Proved | None:
            return _prove(ctx, self._write, *pair, now)

        return self._ctx.in_turns("phones", prove, list(zip(batch, known, strict=True)), _keys_of)


_Known = tuple[Facts | None, Transaction | None]


def _gather(connection: Connection, batch: Sequence[_Asked]) -> list[_Known]:
    """Return what the database knows of who seems to ask, and of what; no more, for none of it is proved yet."""
    pairs = keysets.find_with_users(connection, [asked.request.envelope.keyset for asked in batch])
    theirs = {keyset.application_id for keyset, _ in pairs.values()}
    found = applications.find_applications(connection, theirs)
    facts = {
        name: Facts(keyset, user, found[keyset.application_id]) for name, (keyset, user) in pairs.items()
    }
    wanted = [asked.body.transaction for asked in batch if isinstance(asked.body, Decision)]
    named = transactions.find_transactions(connection, wanted) if wanted else {}
    return [
        (
            facts.get(asked.request.envelope.keyset),
            named.get(asked.body.transaction) if isinstance(asked.body, Decision) else None,
        )
        for asked in batch
    ]


def _keys_of(pair: tuple[_Asked, _Known]) -> Sequence[FleetingRef]:
    _, (facts, _) = pair
    return keynames.fleeting_of(facts.keyset) if facts else ()


def _prove(
    ctx: Context,
    write: Callable[[dict[str, Any] | bytes], Written],
    asked: _Asked,
    known: _Known,
    now: datetime,
) -> Proved | None:
    """Return what is plain. As much work for an unknown keyset as for a wrong code."""
    facts, transaction = known
    seen = authentication.prove(ctx, facts, asked.request)
    caller, _ = authentication.judge(facts, seen, asked.request, now)
    if caller is None:
        return None

    if isinstance(asked.body, Get | Content):
        return Fetched(caller, asked.body)

    def decided(view: dict[str, Any], *, is_final: bool = True) -> Decided:
        reply = write(view)
        # Made ahead, in the same turn: nobody sees it unless what it tells is durable.
        proof = answer_proof(ctx, caller, reply.status, reply.content_type, reply.body)
        return Decided(caller, reply, proof, is_final=is_final)

    if isinstance(asked.body, Decision):
        return _answer(ctx, caller, asked.body, transaction, decided)
    # What most are told, and those who wait at the end; what there is for this one is read when it is admitted.
    return Listed(caller, decided(phone_reading.pending_list(caller, []), is_final=not asked.body.wait))


def _answer(
    ctx: Context,
    caller: Caller,
    decision: Decision,
    transaction: Transaction | None,
    decided: Callable[[dict[str, Any]], Decided],
) -> Answered | None:
    if transaction is None or not _may_answer(caller, transaction):
        return None
    action = confirmation.ACTIONS[caller.envelope.action]
    try:
        answer = confirmation.prove(ctx, caller, transaction, action, decision)
    except (Refusal, WireError):
        return None
    if not answer.verdict.accepted:
        return None
    status = transaction_rules.next_status(TransactionStatus.PENDING, action)
    return Answered(caller, decided(confirmation.settled_view(transaction.id, status)), answer, status)


def _may_answer(caller: Caller, transaction: Transaction) -> bool:
    theirs = (transaction.application_id, transaction.user_id) == (caller.application.id, caller.user.user_id)
    plain = caller.user.failures == 0 and not is_scored(caller.application.policy, transaction)
    return theirs and plain and transaction_rules.is_open(transaction, caller.now)


def _without_doubles(proved: Sequence[Proved | None]) -> dict[int, Proved]:
    """Return what is plain by its number; of one request and of one transaction only the first."""
    first: dict[int, Proved] = {}
    seen: set[object] = set()
    for number, each in enumerate(proved):
        if each is not None and seen.isdisjoint(each.only_once):
            seen |= each.only_once
            first[number] = each
    return first
