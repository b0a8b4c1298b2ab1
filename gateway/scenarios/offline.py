"""How does a user without a network approve: with digits that the phone shows, typed into the application?

Gather, prove and settle as for an answer that a phone sends (``confirmation``), with the same counters. The guess is
judged under the lock under which failures are counted, so guesses that come side by side cannot outrun the count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.ids import new_id
from gateway.refusals import Refusal
from gateway.rules import user as user_rules
from gateway.rules.confirmation import OFFLINE
from gateway.rules.keyset import Keyset
from gateway.rules.transaction import Transaction
from gateway.rules.user import User
from gateway.scenarios import bindings, keynames, proofs
from gateway.scenarios.access import Asker
from gateway.scenarios.context import Context
from gateway.scenarios.in_steps import Steps, for_each
from gateway.scenarios.offline_form import require_offline
from gateway.scenarios.offline_settling import Asked, Guess, is_free, settle_codes, why_unusable
from gateway.scenarios.recording import Origin
from gateway.scenarios.scored import Scored, Seen, weigh
from gateway.scenarios.transactions import find_own
from gateway.scenarios.user_lifecycle import block_after_failures
from gateway.store import keysets, users
from gateway.store.database import Connection
from gateway.wire import timestep
from gateway.wire.code import check_short_code
from gateway.wire.message import Message
from hsm.keys import FleetingRef


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    transaction: Transaction
    user: User
    usable: list[Keyset]
    scored: dict[str, Scored | None]  # by keyset


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
    asked = Asked(asker, transaction_id, code, origin, ctx.clock.now())
    guess, (failures, view) = await _STEPS.ask(ctx, asked)
    ctx.waiters.wake(transaction_id)
    if failures is None:
        raise Refusal("score_too_high", guess.scored.why if guess.scored else "")
    if failures >= asker.application.policy.failures_most:
        await block_after_failures(ctx, asker.application, guess.transaction.user_id, origin)
    if view is None:
        raise Refusal("proof_refused", "wrong short code")
    return view


def _gather(connection: Connection, group: Sequence[Asked]) -> list[_Facts | Exception]:
    found = find_own(connection, [(asked.asker, asked.transaction_id) for asked in group])
    names = {(each.application_id, each.user_id) for each in found if each is not None}
    people, theirs = users.find_users(connection, names), keysets.keysets_of_users(connection, names)

    def facts(pair: tuple[Asked, Transaction | None]) -> _Facts:
        asked, transaction = pair
        if transaction is None:
            raise Refusal("not_found", "unknown transaction")
        policy, name = asked.asker.application.policy, (transaction.application_id, transaction.user_id)
        require_offline(transaction, policy)
        check_short_code(asked.code, transaction.digits)
        user_rules.require_open(people[name], policy.failures_most)
        usable = [each for each in theirs[name] if why_unusable(asked, transaction, each) is None]
        if not usable:
            raise Refusal("no_active_keys")
        scored = {each.id: _weigh(connection, asked, transaction, people[name], each) for each in usable}
        return _Facts(transaction=transaction, user=people[name], usable=usable, scored=scored)

    return for_each(facts, list(zip(group, found, strict=True)))


def _weigh(
    connection: Connection, asked: Asked, transaction: Transaction, user: User, keyset: Keyset
) -> Scored | None:
    seen = Seen(
        keyset=keyset,
        transaction=transaction,
        failures=user.failures,
        device={},
        address=None,
        channel=OFFLINE,
        now=asked.now,
    )
    return weigh(connection, asked.asker.application.policy, seen)


def _keys_of(facts: _Facts) -> list[FleetingRef]:
    return [key for each in facts.usable for key in keynames.fleeting_of(each)]


def _prove(ctx: Context, asked: Asked, facts: _Facts) -> Guess:
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
    attempt_id, receipt = new_id("att", now), None
    if found is None:
        keyset = facts.usable[-1]
        step = timestep.step_at(now, keyset.step_seconds)
    else:
        keyset, message = found
        step, scored = message.step, facts.scored[keyset.id]
        claim = scored.claim if scored else None
        receipt = proofs.make_short_receipt(ctx, keyset, message, code, attempt_id, now, claim)
    return Guess(
        asked=asked,
        transaction=transaction,
        user=facts.user,
        keyset=keyset,
        operation=operation,
        step=step,
        receipt=receipt,
        attempt_id=attempt_id,
        scored=facts.scored[keyset.id],
    )


_STEPS = Steps(
    kind="short codes",
    gather=_gather,
    keys_of=_keys_of,
    prove=_prove,
    order=lambda guess: (
        f"{guess.transaction.application_id} {guess.transaction.user_id} {guess.transaction.id}"
    ),
    settle=settle_codes,
    is_free=is_free,
)
