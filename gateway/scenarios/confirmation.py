"""How is a transaction approved or declined: gather, prove, settle.

Gather reads, prove talks to the device while nothing is locked, settle decides in one unit. A failed proof is
an outcome too: it is written first and refused after the commit.
"""

from dataclasses import dataclass
from typing import Any

from gateway.ids import new_id
from gateway.refusals import Refusal
from gateway.rules import confirmation as rules
from gateway.rules import transaction as transaction_rules
from gateway.rules.confirmation import Outcome, Verdict
from gateway.rules.event import EventType
from gateway.rules.transaction import Transaction, TransactionAction, TransactionStatus
from gateway.scenarios import bindings, proofs, settling
from gateway.scenarios.authentication import Caller, require_unchanged
from gateway.scenarios.bindings import BrokenBinding
from gateway.scenarios.context import Context
from gateway.scenarios.failures import count_failure
from gateway.scenarios.recording import make_event, record, use_request
from gateway.scenarios.scored import Scored, Seen, cancel_by_score, weigh
from gateway.scenarios.user_lifecycle import block_after_failures
from gateway.store import transactions, users
from gateway.store.database import Connection
from gateway.store.transactions import Attempt
from gateway.wire.bodies import Decision
from gateway.wire.message import Message

ACTIONS = {
    "transactions.approve": TransactionAction.APPROVE,
    "transactions.decline": TransactionAction.DECLINE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer on its way: what was asked, about which transaction, and what the device said."""

    action: TransactionAction
    decision: Decision
    message: Message
    transaction: Transaction
    verdict: Verdict
    receipt: str | None
    attempt_id: str
    scored: Scored | None = None

    @property
    def is_above_the_limit(self) -> bool:
        """Say whether the proofs are right and too much speaks against the approval nevertheless."""
        above = self.scored is not None and self.scored.is_above
        return above and self.verdict.accepted and self.action is TransactionAction.APPROVE


@dataclass(frozen=True, slots=True)
class _Settled:
    view: dict[str, Any]
    refusal: Refusal | None = None
    user_failures: int = 0


async def answer_transaction(ctx: Context, caller: Caller) -> dict[str, Any]:
    """Approve or decline, as the caller's action says, and return ``transaction``, ``status``, ``reason``.

    Raises:
        WireError: the body is malformed.
        Refusal: ``not_found``, ``proof_refused``, ``score_too_high``, ``transaction_settled``,
            ``transaction_expired``.
        BrokenBinding: somebody changed the transaction in the database.
    """
    decision = Decision.read(caller.envelope.body)
    action = ACTIONS[caller.envelope.action]
    transaction, scored = await ctx.reading(_gather, caller, decision.transaction)
    try:
        answer = await ctx.on_device(prove, ctx, caller, transaction, action, decision, scored)
    except BrokenBinding as broken:
        await ctx.unit(record, [bindings.alarm(broken.row, caller.now, caller.origin)])
        raise
    settled = await ctx.unit(_settle, caller, answer)
    ctx.waiters.wake(transaction.id)
    if settled.user_failures >= caller.application.policy.failures_most:
        await block_after_failures(ctx, caller.application, caller.user.user_id, caller.origin)
    if settled.refusal is not None:
        settled.refusal.recorded = True
        raise settled.refusal
    return settled.view


def _gather(connection: Connection, caller: Caller, transaction_id: str) -> tuple[Transaction, Scored | None]:
    transaction = transactions.find_transaction(connection, caller.application.id, transaction_id)
    if transaction is None or transaction.user_id != caller.user.user_id:
        raise Refusal("not_found", "no such transaction of this user")
    seen = Seen(
        keyset=caller.keyset,
        transaction=transaction,
        failures=caller.user.failures,
        device=caller.envelope.device,
        address=caller.origin.address,
        channel=rules.ONLINE,
        now=caller.now,
    )
    return transaction, weigh(connection, caller.policy, seen)


def prove(
    ctx: Context,
    caller: Caller,
    transaction: Transaction,
    action: TransactionAction,
    decision: Decision,
    scored: Scored | None = None,
) -> Answer:
    """Verify step, code and signature, and sign the receipt if all are right: one hop to the device."""
    caller.require_allowed_unlocking()
    bindings.require_bound_transaction(ctx, transaction)
    keyset, policy = caller.keyset, caller.application.policy
    operation = proofs.operation_of(transaction.kind, declines=action is TransactionAction.DECLINE)
    message = proofs.message_about(transaction, operation, keyset.fingerprint, decision.proofs.step)
    needs_signature = rules.signature_required(
        registered=keyset.kpublic is not None,
        policy_requires=policy.kpublic_required,
        transaction_requires=transaction.kpublic_required,
    )
    verdict = proofs.verify(
        ctx, keyset, message, decision.proofs, policy, caller.now, needs_signature=needs_signature
    )
    attempt_id = new_id("att", caller.now)
    claim = scored.claim if scored else None
    signed = (ctx, keyset, message, decision.proofs, verdict, attempt_id, caller.now, claim)
    return Answer(
        action=action,
        decision=decision,
        message=message,
        transaction=transaction,
        verdict=verdict,
        receipt=proofs.make_receipt(*signed) if verdict.accepted else None,
        attempt_id=attempt_id,
        scored=scored,
    )


def _settle(connection: Connection, caller: Caller, answer: Answer) -> _Settled:
    """Decide in one unit: replay mark, state, attempt, events, callback. Everything of it is kept, or nothing."""
    use_request(connection, caller.keyset.id, caller.authcode, caller.now)
    user = users.lock_user(connection, caller.application.id, caller.user.user_id)
    require_unchanged(connection, caller, user, caller.now)
    if not answer.verdict.accepted:
        return _refuse(connection, caller, answer)
    if answer.is_above_the_limit:
        return _refuse_by_score(connection, caller, answer)
    status = transaction_rules.next_status(TransactionStatus.PENDING, answer.action)
    won = transactions.settle_transaction(
        connection,
        answer.transaction.id,
        status=status,
        reason=None,
        now=caller.now,
        before_expiry=True,
    )
    if not won:
        return _already_settled(connection, caller, answer)
    # Only by an answer that decides: who saw a right one pass could start the count anew with it.
    users.clear_failures(connection, caller.application.id, caller.user.user_id)
    _keep_attempt(connection, caller, answer, Outcome.ACCEPTED)
    settling.announce(connection, caller.application, answer.transaction.id, caller.origin, caller.now)
    return _Settled(settled_view(answer.transaction.id, status))


def settled_view(transaction_id: str, status: TransactionStatus, reason: str | None = None) -> dict[str, Any]:
    """Return what a phone is told of its answer."""
    return {"transaction": transaction_id, "status": status, "reason": reason}


def _refuse(connection: Connection, caller: Caller, answer: Answer) -> _Settled:
    """Keep the wrong answer, count it, and cancel the transaction when there were too many."""
    _keep_attempt(connection, caller, answer, Outcome.REFUSED)
    failed = answer.verdict.failed
    event = make_event(
        EventType.PROOF_REFUSED,
        "refused",
        caller.now,
        caller.origin,
        reason=f"wrong {failed}",
        detail={"device": caller.envelope.device},
        **settling.subject(caller.application.id, answer.transaction, caller.keyset.id),
    )
    record(connection, [event])
    failures = 0
    if answer.verdict.counts:
        failures = count_failure(
            connection, caller.application, answer.transaction, caller.origin, caller.now
        )
    return _Settled({}, Refusal("proof_refused", f"wrong {failed}"), failures)


def _refuse_by_score(connection: Connection, caller: Caller, answer: Answer) -> _Settled:
    scored, transaction = answer.scored, answer.transaction
    assert scored is not None
    told = (caller.keyset.id, caller.envelope.device, caller.origin, caller.now)
    if not cancel_by_score(connection, caller.application, transaction, scored, *told):
        return _already_settled(connection, caller, answer)
    _keep_attempt(connection, caller, answer, Outcome.REFUSED)
    return _Settled({}, Refusal("score_too_high", scored.why))


def _already_settled(connection: Connection, caller: Caller, answer: Answer) -> _Settled:
    """Somebody was faster, or the time is over. The same phone asking for the same again gets the outcome."""
    present = transactions.find_transaction(connection, caller.application.id, answer.transaction.id)
    assert present is not None
    decisive = settling.decisive_attempt(connection, present.id)
    same = (
        decisive is not None
        and decisive.keyset_id == caller.keyset.id
        and decisive.operation == answer.message.operation.name.lower()
    )
    late = make_event(
        EventType.TRANSACTION_LATE,
        "repeated" if same else "refused",
        caller.now,
        caller.origin,
        reason=f"the transaction is {present.status}",
        **settling.subject(caller.application.id, present, caller.keyset.id),
    )
    record(connection, [late])
    if same:
        return _Settled(settled_view(present.id, present.status, present.reason))
    _keep_attempt(connection, caller, answer, Outcome.LATE)
    pending = present.status is TransactionStatus.PENDING
    code = "transaction_expired" if pending else "transaction_settled"
    return _Settled({}, Refusal(code, f"answer to a transaction that is {present.status}"))


def _keep_attempt(connection: Connection, caller: Caller, answer: Answer, outcome: Outcome) -> None:
    """Keep the answer with the transaction; of refused and late ones the first alone, the events tell of the rest."""
    if outcome is not Outcome.ACCEPTED:
        kept = transactions.count_not_accepted(connection, answer.transaction.id)
        if kept >= rules.NOT_ACCEPTED_MOST:
            return
    transactions.insert_attempts(connection, [attempt_of(caller, answer, outcome)])


def attempt_of(caller: Caller, answer: Answer, outcome: Outcome) -> Attempt:
    """Return what is kept of an answer."""
    proofs_shown = answer.decision.proofs
    # One that came unasked was verified by nobody; the receipt does not hold it.
    unasked = answer.verdict.accepted and rules.Check.SIGNATURE not in answer.verdict.passed
    return Attempt(
        id=answer.attempt_id,
        transaction_id=answer.transaction.id,
        keyset_id=caller.keyset.id,
        device_id=caller.keyset.device_id,
        operation=answer.message.operation.name.lower(),
        channel=rules.ONLINE,
        step=proofs_shown.step,
        code=proofs_shown.code,
        signature=None if unasked else proofs_shown.signature_der,
        verified=answer.verdict.passed,
        outcome=outcome,
        device=caller.envelope.device,
        receipt=answer.receipt if outcome is Outcome.ACCEPTED else None,
        scoring=answer.scored.kept if answer.scored else None,
        created_at=caller.now,
    )
