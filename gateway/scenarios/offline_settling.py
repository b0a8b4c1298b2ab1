"""What becomes of guesses of short codes: what is plainly right at a time is settled together, any other by itself.

A guess is judged under the lock of its user, under which failures are counted, so guesses that come side by side cannot
outrun the count: where several are for one user, none of them is plain.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

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
from gateway.scenarios import proofs, settling, settling_together
from gateway.scenarios.access import Asker
from gateway.scenarios.failures import count_failure
from gateway.scenarios.in_steps import Left
from gateway.scenarios.recording import Origin, make_event, record
from gateway.scenarios.representation import transaction_view
from gateway.scenarios.scored import Scored, cancel_by_score
from gateway.scenarios.settling_together import Win
from gateway.store import keysets, transactions, users
from gateway.store.database import Connection
from gateway.store.transactions import Attempt
from gateway.wire.message import Operation

_APPROVED = transaction_rules.next_status(TransactionStatus.PENDING, TransactionAction.APPROVE)


@dataclass(frozen=True, slots=True)
class Asked:
    """Digits that an application hands in."""

    asker: Asker
    transaction_id: str
    code: str
    origin: Origin
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """One code, and what the device said: the keyset and step it fits with a receipt, or those it is kept under."""

    asked: Asked
    transaction: Transaction
    user: User
    keyset: Keyset
    operation: Operation
    step: int
    receipt: str | None
    attempt_id: str
    scored: Scored | None

    @property
    def whose(self) -> tuple[str, str]:
        """Application and user."""
        return self.transaction.application_id, self.transaction.user_id

    @property
    def is_above(self) -> bool:
        """Say whether too much speaks against the answer."""
        return self.scored is not None and self.scored.is_above


# How often the user failed in a row (None: too much speaks against the answer), and the transaction if it is settled.
Settled = tuple[int | None, dict[str, Any] | None]


def why_unusable(asked: Asked, transaction: Transaction, keyset: Keyset) -> str | None:
    """Return why a keyset cannot answer the transaction, or None."""
    required = asked.asker.application.policy.kpublic_required or transaction.kpublic_required
    return keyset_rules.why_unusable(keyset, asked.now, registering=False, kpublic_required=required)


def settle_codes(connection: Connection, guesses: Sequence[tuple[Asked, Guess]]) -> Sequence[Settled | Left]:
    """Decide in one unit what is plain, and leave the rest; one alone is decided in any case."""
    if len(guesses) == 1:
        ((asked, guess),) = guesses
        return [_settle(connection, asked, guess)]
    several = [guess for _, guess in guesses]
    settled = _settle_plain(connection, several, max(asked.now for asked, _ in guesses))
    return [settled.get(guess.attempt_id, Left.LEFT) for guess in several]


def is_free(connection: Connection, guess: Guess) -> bool:
    """Lock the user of a guess, unless somebody holds it."""
    return guess.whose in users.lock_free_users(connection, {guess.whose})


def _settle_plain(connection: Connection, guesses: Sequence[Guess], now: datetime) -> dict[str, Settled]:
    """Settle what is plainly right; return what came of it by the ids of the attempts."""
    free = users.lock_free_users(connection, {guess.whose for guess in guesses})
    often = Counter(guess.whose for guess in guesses)
    wins = [
        _win(guess)
        for guess in guesses
        # A keyset changes only together with its user's version, so nothing of what was proved has changed.
        if guess.receipt is not None
        and often[guess.whose] == 1
        and free.get(guess.whose) == guess.user
        and guess.user.failures == 0
        and not guess.is_above
    ]
    if not wins:
        return {}
    numbers = settling_together.settle_in_time(connection, wins, now)
    won = [win for win in wins if win.transaction.id in numbers]
    record(connection, settling_together.write_down(connection, won, numbers, now))
    kept = transactions.attempts_of(connection, numbers)
    return {win.attempt.id: (0, transaction_view(win.settled(now), kept[win.transaction.id])) for win in won}


def _win(guess: Guess) -> Win:
    return Win(
        application=guess.asked.asker.application,
        transaction=guess.transaction,
        status=_APPROVED,
        attempt=_attempt(guess, Outcome.ACCEPTED),
        origin=guess.asked.origin,
    )


def _settle(connection: Connection, asked: Asked, guess: Guess) -> Settled:
    """Decide under the lock of the user's row."""
    application, transaction = asked.asker.application, guess.transaction
    user = users.lock_user(connection, *guess.whose)
    if user is None:
        raise Refusal("not_found", "the user is gone")
    user_rules.require_open(user, application.policy.failures_most)
    keyset = keysets.find_keyset(connection, guess.keyset.id)
    if keyset is None or why_unusable(asked, transaction, keyset) is not None:
        raise Refusal("no_active_keys", "the keyset ended meanwhile")
    if guess.receipt is None:
        return _refuse(connection, guess), None
    if guess.scored is not None and guess.scored.is_above:
        _refuse_by_score(connection, guess, guess.scored)
        return None, None
    if user.failures:
        users.clear_failures(connection, *guess.whose)
    won = transactions.settle_transaction(
        connection, transaction.id, status=_APPROVED, reason=None, now=asked.now, before_expiry=True
    )
    if not won:
        raise _settled_refusal(connection, transaction)
    transactions.insert_attempts(connection, [_attempt(guess, Outcome.ACCEPTED)])
    announced = settling.announce(connection, application, transaction.id, asked.origin, asked.now)
    return 0, transaction_view(*announced)


def _settled_refusal(connection: Connection, transaction: Transaction) -> Refusal:
    present = transactions.find_transaction(connection, transaction.application_id, transaction.id)
    pending = present is not None and present.status is TransactionStatus.PENDING
    return Refusal("transaction_expired" if pending else "transaction_settled")


def _refuse_by_score(connection: Connection, guess: Guess, scored: Scored) -> None:
    asked, transaction, keyset_id = guess.asked, guess.transaction, guess.keyset.id
    if not cancel_by_score(
        connection, asked.asker.application, transaction, scored, keyset_id, {}, asked.origin, asked.now
    ):
        raise _settled_refusal(connection, transaction)
    transactions.insert_attempts(connection, [_attempt(guess, Outcome.REFUSED)])


def _refuse(connection: Connection, guess: Guess) -> int:
    asked, transaction = guess.asked, guess.transaction
    if transactions.count_not_accepted(connection, transaction.id) < rules.NOT_ACCEPTED_MOST:
        transactions.insert_attempts(connection, [_attempt(guess, Outcome.REFUSED)])
    application = asked.asker.application
    event = make_event(
        EventType.PROOF_REFUSED,
        "refused",
        asked.now,
        asked.origin,
        reason="wrong short code",
        **settling.subject(application.id, transaction, guess.keyset.id),
    )
    record(connection, [event])
    return count_failure(connection, application, transaction, asked.origin, asked.now)


def _attempt(guess: Guess, outcome: Outcome) -> Attempt:
    return Attempt(
        id=guess.attempt_id,
        transaction_id=guess.transaction.id,
        keyset_id=guess.keyset.id,
        device_id=guess.keyset.device_id,
        operation=guess.operation.name.lower(),
        channel=OFFLINE,
        step=guess.step,
        code=guess.asked.code.encode(),
        signature=None,
        verified=proofs.SHORT_VERIFIED if outcome is Outcome.ACCEPTED else (),
        outcome=outcome,
        device={},
        receipt=guess.receipt if outcome is Outcome.ACCEPTED else None,
        scoring=guess.scored.kept if guess.scored else None,
        created_at=guess.asked.now,
    )
