"""How does a user without a network approve: with digits that the phone shows, typed into the application?

Gather, prove and settle as for an answer that a phone sends (``confirmation``), with the same counters. The guess is
judged under the lock under which failures are counted, so guesses that come side by side cannot outrun the count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.ids import new_id
from gateway.refusals import Refusal
from gateway.rules import confirmation as rules
from gateway.rules import keyset as keyset_rules
from gateway.rules import transaction as transaction_rules
from gateway.rules import user as user_rules
from gateway.rules.confirmation import OFFLINE, Outcome
from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset
from gateway.rules.transaction import Transaction, TransactionAction, TransactionStatus
from gateway.rules.user import User
from gateway.scenarios import bindings, keynames, proofs, settling
from gateway.scenarios.access import Asker
from gateway.scenarios.context import Context
from gateway.scenarios.failures import count_failure
from gateway.scenarios.in_steps import Steps
from gateway.scenarios.offline_form import load_offline
from gateway.scenarios.recording import Origin, make_event, record
from gateway.scenarios.representation import transaction_view
from gateway.scenarios.scored import Scored, Seen, cancel_by_score, weigh
from gateway.scenarios.user_lifecycle import block_after_failures
from gateway.store import keysets, transactions, users
from gateway.store.database import Connection
from gateway.store.transactions import Attempt
from gateway.wire import timestep
from gateway.wire.code import check_short_code
from gateway.wire.message import Message, Operation
from hsm.keys import FleetingRef


@dataclass(frozen=True, slots=True)
class _Asked:
    """Digits that an application hands in."""

    asker: Asker
    transaction_id: str
    code: str
    origin: Origin
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    transaction: Transaction
    user: User
    usable: list[Keyset]
    scored: dict[str, Scored | None]  # by keyset


@dataclass(frozen=True, slots=True)
class _Guess:
    """One code, and what the device said: the keyset and step it fits with a receipt, or those it is kept under."""

    transaction: Transaction
    keyset: Keyset
    operation: Operation
    step: int
    code: str
    receipt: str | None
    attempt_id: str
    now: datetime
    scored: Scored | None


# How often the user failed in a row (None: too much speaks against the answer), and the transaction if it is settled.
_Settled = tuple[int | None, dict[str, Any] | None]


async def submit_code(
    ctx: Context, asker: Asker, transaction_id: str, code: str, origin: Origin
) -> dict[str, Any]:
    """Approve a transaction with the digits its user read from the phone; returns the settled transaction.

    Raises:
        WireError: not exactly the digits of the transaction; that is no guess and does not count.
        Refusal: ``not_found``, ``not_allowed_by_policy``, ``no_active_keys``, ``user_blocked``, ``user_deleted``,
            ``proof_refused``, ``score_too_high``, ``transaction_settled``, ``transaction_expired``,
            ``integrity_failure``.
    """
    asked = _Asked(asker, transaction_id, code, origin, ctx.clock.now())
    guess, (failures, view) = await _STEPS.ask(ctx, asked)
    ctx.waiters.wake(transaction_id)
    if failures is None:
        raise Refusal("score_too_high", guess.scored.why if guess.scored else "")
    if failures >= asker.application.policy.failures_most:
        await block_after_failures(ctx, asker.application, guess.transaction.user_id, origin)
    if view is None:
        raise Refusal("proof_refused", "wrong short code")
    return view


def _gather(connection: Connection, asked: _Asked) -> _Facts:
    asker, now = asked.asker, asked.now
    transaction = load_offline(connection, asker, asked.transaction_id)
    check_short_code(asked.code, transaction.digits)
    application = asker.application
    user = users.find_user(connection, application.id, transaction.user_id)
    assert user is not None
    user_rules.require_open(user, application.policy.failures_most)
    usable = [
        each
        for each in keysets.keysets_of(connection, application.id, user.user_id)
        if _why_unusable(asker, transaction, each, now) is None
    ]
    if not usable:
        raise Refusal("no_active_keys")
    scored = {each.id: _weigh(connection, asker, transaction, user, each, now) for each in usable}
    return _Facts(transaction=transaction, user=user, usable=usable, scored=scored)


def _weigh(
    connection: Connection, asker: Asker, transaction: Transaction, user: User, keyset: Keyset, now: datetime
) -> Scored | None:
    seen = Seen(
        keyset=keyset,
        transaction=transaction,
        failures=user.failures,
        device={},
        address=None,
        channel=OFFLINE,
        now=now,
    )
    return weigh(connection, asker.application.policy, seen)


def _why_unusable(asker: Asker, transaction: Transaction, keyset: Keyset, now: datetime) -> str | None:
    required = asker.application.policy.kpublic_required or transaction.kpublic_required
    return keyset_rules.why_unusable(keyset, now, registering=False, kpublic_required=required)


def _keys_of(facts: _Facts) -> list[FleetingRef]:
    return [key for each in facts.usable for key in keynames.fleeting_of(each)]


def _prove(ctx: Context, asked: _Asked, facts: _Facts) -> _Guess:
    """Compare with every keyset in every step of the window, always all of them: the digits name neither."""
    code, policy, now = asked.code, asked.asker.application.policy, asked.now
    transaction, operation = facts.transaction, proofs.operation_of(facts.transaction.kind)
    bindings.require_bound_transaction(ctx, transaction)
    found: tuple[Keyset, Message] | None = None
    for keyset in facts.usable:
        bindings.require_bound(ctx, keyset, facts.user.status)
        for step in timestep.window(now, keyset.step_seconds, policy.steps_back, policy.steps_ahead):
            message = proofs.message_about(transaction, operation, keyset.fingerprint, step)
            if proofs.short_code_matches(ctx, keyset, message, code, transaction.digits):
                found = keyset, message
    attempt_id = new_id("att", now)
    if found is None:
        keyset = facts.usable[-1]
        step = timestep.step_at(now, keyset.step_seconds)
        scored = facts.scored[keyset.id]
        return _Guess(transaction, keyset, operation, step, code, None, attempt_id, now, scored)
    keyset, message = found
    scored = facts.scored[keyset.id]
    claim = scored.claim if scored else None
    receipt = proofs.make_short_receipt(ctx, keyset, message, code, attempt_id, now, claim)
    return _Guess(transaction, keyset, operation, message.step, code, receipt, attempt_id, now, scored)


def _settle_all(connection: Connection, guesses: Sequence[tuple[_Asked, _Guess]]) -> list[_Settled]:
    """Decide in one unit, one after the other."""
    return [_settle(connection, asked.asker, guess, asked.origin) for asked, guess in guesses]


def _settle(connection: Connection, asker: Asker, guess: _Guess, origin: Origin) -> _Settled:
    """Decide under the lock of the user's row."""
    application, transaction = asker.application, guess.transaction
    user = users.lock_user(connection, application.id, transaction.user_id)
    if user is None:
        raise Refusal("not_found", "the user is gone")
    user_rules.require_open(user, application.policy.failures_most)
    keyset = keysets.find_keyset(connection, guess.keyset.id)
    if keyset is None or _why_unusable(asker, transaction, keyset, guess.now) is not None:
        raise Refusal("no_active_keys", "the keyset ended meanwhile")
    if guess.receipt is None:
        return _refuse(connection, asker, guess, origin), None
    if guess.scored is not None and guess.scored.is_above:
        _refuse_by_score(connection, asker, guess, guess.scored, origin)
        return None, None
    if user.failures:
        users.clear_failures(connection, application.id, user.user_id)
    status = transaction_rules.next_status(TransactionStatus.PENDING, TransactionAction.APPROVE)
    won = transactions.settle_transaction(
        connection, transaction.id, status=status, reason=None, now=guess.now, before_expiry=True
    )
    if not won:
        raise _settled_refusal(connection, transaction)
    transactions.insert_attempts(connection, [_attempt(guess, Outcome.ACCEPTED)])
    return 0, transaction_view(*settling.announce(connection, application, transaction.id, origin, guess.now))


def _settled_refusal(connection: Connection, transaction: Transaction) -> Refusal:
    present = transactions.find_transaction(connection, transaction.application_id, transaction.id)
    pending = present is not None and present.status is TransactionStatus.PENDING
    return Refusal("transaction_expired" if pending else "transaction_settled")


def _refuse_by_score(
    connection: Connection, asker: Asker, guess: _Guess, scored: Scored, origin: Origin
) -> None:
    transaction, keyset_id = guess.transaction, guess.keyset.id
    if not cancel_by_score(
        connection, asker.application, transaction, scored, keyset_id, {}, origin, guess.now
    ):
        raise _settled_refusal(connection, transaction)
    transactions.insert_attempts(connection, [_attempt(guess, Outcome.REFUSED)])


def _refuse(connection: Connection, asker: Asker, guess: _Guess, origin: Origin) -> int:
    transaction = guess.transaction
    if transactions.count_not_accepted(connection, transaction.id) < rules.NOT_ACCEPTED_MOST:
        transactions.insert_attempts(connection, [_attempt(guess, Outcome.REFUSED)])
    event = make_event(
        EventType.PROOF_REFUSED,
        "refused",
        guess.now,
        origin,
        reason="wrong short code",
        **settling.subject(asker.application.id, transaction, guess.keyset.id),
    )
    record(connection, [event])
    return count_failure(connection, asker.application, transaction, origin, guess.now)


def _attempt(guess: _Guess, outcome: Outcome) -> Attempt:
    return Attempt(
        id=guess.attempt_id,
        transaction_id=guess.transaction.id,
        keyset_id=guess.keyset.id,
        device_id=guess.keyset.device_id,
        operation=guess.operation.name.lower(),
        channel=OFFLINE,
        step=guess.step,
        code=guess.code.encode(),
        signature=None,
        verified=proofs.SHORT_VERIFIED if outcome is Outcome.ACCEPTED else (),
        outcome=outcome,
        device={},
        receipt=guess.receipt if outcome is Outcome.ACCEPTED else None,
        scoring=guess.scored.kept if guess.scored else None,
        created_at=guess.now,
    )


_STEPS = Steps(
    kind="short codes",
    gather=_gather,
    keys_of=_keys_of,
    prove=_prove,
    order=lambda guess: (
        f"{guess.transaction.application_id} {guess.transaction.user_id} {guess.transaction.id}"
    ),
    settle=_settle_all,
)
