"""Was this signed: verifying a past answer with the keys of that moment, long after the content is gone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.refusals import Refusal
from gateway.rules.confirmation import OFFLINE, Outcome
from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset
from gateway.rules.transaction import Transaction
from gateway.rules.user import User
from gateway.scenarios import bindings, keynames, proofs
from gateway.scenarios.access import Asker
from gateway.scenarios.context import Context
from gateway.scenarios.in_steps import Steps, for_each
from gateway.scenarios.questions import Question, missing_proofs, status_then
from gateway.scenarios.receipts import vouched_message
from gateway.scenarios.recording import Origin, make_event, record
from gateway.scenarios.representation import code_view
from gateway.scenarios.transactions import find_own
from gateway.store import keysets, transactions, users
from gateway.store.database import Connection
from gateway.store.transactions import Attempt
from gateway.wire import base64s
from gateway.wire import signature as signatures
from gateway.wire.message import Message, Operation
from gateway.wire.timestep import format_time, unix_seconds
from hsm.keys import FleetingRef


@dataclass(frozen=True, slots=True)
class _Candidate:
    attempt: Attempt
    keyset: Keyset


@dataclass(frozen=True, slots=True)
class _Asked:
    asker: Asker
    question: Question
    raw: bytes | None  # the signature
    origin: Origin
    now: datetime


@dataclass(frozen=True, slots=True)
class _Facts:
    transaction: Transaction
    user: User
    candidates: list[_Candidate]


async def verify_signature(ctx: Context, asker: Asker, question: Question, origin: Origin) -> dict[str, Any]:
    """Verify an answer to a transaction and return the verdict.

    The keyset is the one the answer was given with; the verdict tells its state then and now. Only an answer that
    the gateway accepted is valid; ``outcome`` tells of the others, ``missing`` of proofs that were not shown.

    Raises:
        Refusal: ``not_found``, ``integrity_failure``.
        WireError: the signature is not strict DER.
    """
    raw = None if question.signature is None else signatures.raw_from_der(question.signature)
    asked = _Asked(asker, question, raw, origin, ctx.clock.now())
    (_, verdict), _ = await _STEPS.ask(ctx, asked)
    return verdict


def _gather(connection: Connection, group: Sequence[_Asked]) -> list[_Facts | Exception]:
    found = find_own(connection, [(asked.asker, asked.question.about_id) for asked in group])
    known = [each for each in found if each is not None]
    people = users.find_users(connection, {(each.application_id, each.user_id) for each in known})
    given = transactions.attempts_of(connection, {each.id for each in known})
    theirs = keysets.find_keysets(connection, {each.keyset_id for some in given.values() for each in some})

    def facts(pair: tuple[_Asked, Transaction | None]) -> _Facts:
        asked, transaction = pair
        if transaction is None:
            raise Refusal("not_found", "unknown transaction")
        candidates = [
            _Candidate(attempt, theirs[attempt.keyset_id])
            for attempt in given[transaction.id]
            if attempt.keyset_id in theirs and attempt.step == asked.question.step
        ]
        return _Facts(transaction, people[transaction.application_id, transaction.user_id], candidates)

    return for_each(facts, list(zip(group, found, strict=True)))


def _keys_of(facts: _Facts) -> list[FleetingRef]:
    return [key for each in facts.candidates for key in keynames.fleeting_of(each.keyset)]


def _prove(ctx: Context, asked: _Asked, facts: _Facts) -> tuple[Transaction, dict[str, Any]]:
    """Try the keysets that answered in that step, each with its best answer; the best verdict counts."""
    question, transaction = asked.question, facts.transaction
    bindings.require_bound_transaction(ctx, transaction)
    operation = proofs.operation_of(transaction.kind, declines=question.operation == "decline")
    best: dict[str, _Candidate] = {}
    for candidate in facts.candidates:
        rival = best.get(candidate.keyset.id)
        if rival is None or _rank(candidate, operation, question) > _rank(rival, operation, question):
            best[candidate.keyset.id] = candidate
    verdicts = [
        _try(ctx, question, asked.raw, transaction, facts.user, operation, candidate)
        for candidate in best.values()
    ]
    return transaction, max(verdicts, key=_weight, default=_no_key(transaction))


def _rank(candidate: _Candidate, operation: Operation, question: Question) -> tuple[bool, bool, bool]:
    """Say how well an answer fits the question; several may have come from one keyset in one step."""
    attempt = candidate.attempt
    code = question.code.encode() if isinstance(question.code, str) else question.code
    is_shown = code == attempt.code or question.signature == attempt.signature
    return attempt.operation == operation.name.lower(), attempt.outcome == Outcome.ACCEPTED, is_shown


def _weight(verdict: dict[str, Any]) -> tuple[bool, int]:
    return verdict["valid"], sum(verdict["checks"].values())


def _try(
    ctx: Context,
    question: Question,
    raw: bytes | None,
    transaction: Transaction,
    user: User,
    operation: Operation,
    candidate: _Candidate,
) -> dict[str, Any]:
    keyset, attempt = candidate.keyset, candidate.attempt
    # The row of the attempt, which names the keyset, is under no seal: the user's own keys count and no others.
    if (keyset.application_id, keyset.user_id) != (transaction.application_id, transaction.user_id):
        raise bindings.BrokenBinding(keyset)
    bindings.require_bound(ctx, keyset, user.status)
    fingerprint = _fingerprint_then(ctx, transaction, keyset, attempt)
    message = proofs.message_about(
        transaction, operation, fingerprint, question.step, question.content_sha256
    )
    checks = _check(ctx, question, raw, candidate, message, transaction)
    # Right proofs alone are not enough: the gateway refuses a right answer that comes late or in a wrong step.
    outcome = attempt.outcome if attempt.operation == operation.name.lower() else None
    return {
        "valid": outcome == Outcome.ACCEPTED and bool(checks) and all(checks.values()),
        "outcome": outcome,
        "checks": checks,
        "missing": missing_proofs(question, attempt) if outcome is not None else [],
        "operation": operation.name.lower(),
        "content_sha256_matches": message.content_digest == transaction.content_sha256,
        "checked_at": format_time(ctx.clock.now()),
        **_states(transaction, user, keyset, attempt),
    }


def _fingerprint_then(ctx: Context, transaction: Transaction, keyset: Keyset, attempt: Attempt) -> bytes:
    """Return the fingerprint an answer was given under; refuse an accepted one that is not what its receipt says.

    Else whoever writes to the database could have a late answer pass for one that decided, or try out digits. A keyset
    that need not be registered may have got its fingerprint since.
    """
    if attempt.outcome != Outcome.ACCEPTED:
        return keyset.fingerprint
    told = {
        "jti": attempt.id,
        "iat": unix_seconds(attempt.created_at),
        "keyset": keyset.id,
        "operation": attempt.operation,
        "code": code_view(attempt),
        "signature": None if attempt.signature is None else base64s.encode(attempt.signature),
    }
    said = vouched_message(ctx, attempt.receipt, told)
    if said is None or said != proofs.message_about(
        transaction, said.operation, said.fingerprint, attempt.step
    ):
        raise Refusal("integrity_failure", f"{attempt.id} is not what its receipt says")
    return said.fingerprint


def _states(transaction: Transaction, user: User, keyset: Keyset, attempt: Attempt) -> dict[str, Any]:
    return {
        "transaction": transaction.id,
        "transaction_status": transaction.status,
        "user": user.user_id,
        "user_status": user.status,
        "keyset": keyset.id,
        "device": keyset.device_id,
        "keyset_status_then": status_then(keyset, attempt.created_at),
        "keyset_status_now": keyset.status,
        "signed_at": format_time(attempt.created_at),
    }


def _check(
    ctx: Context,
    question: Question,
    raw: bytes | None,
    candidate: _Candidate,
    message: Message,
    transaction: Transaction,
) -> dict[str, bool]:
    keyset, attempt = candidate.keyset, candidate.attempt
    checks: dict[str, bool] = {}
    if question.code is not None:
        checks["code"] = _code_matches(ctx, question.code, keyset, message, transaction, attempt)
    if raw is not None:
        checks["signature"] = proofs.signature_matches(ctx, keyset.kpublic, message, raw)
    return checks


def _code_matches(
    ctx: Context,
    code: bytes | str,
    keyset: Keyset,
    message: Message,
    transaction: Transaction,
    attempt: Attempt,
) -> bool:
    if isinstance(code, bytes):
        return proofs.code_matches(ctx, keyset, message, code)
    # Few digits can be tried out one by one, and nothing counts that here: only an accepted one is compared.
    given = attempt.channel == OFFLINE and attempt.outcome == Outcome.ACCEPTED
    return given and proofs.short_code_matches(ctx, keyset, message, code, transaction.digits)


def _no_key(transaction: Transaction) -> dict[str, Any]:
    return {
        "valid": False,
        "outcome": None,
        "checks": {},
        "missing": [],
        "transaction": transaction.id,
        "transaction_status": transaction.status,
        "keyset": None,
        "device": None,
        "keyset_status_then": None,
        "keyset_status_now": None,
    }


def _record(
    connection: Connection, verified: Sequence[tuple[_Asked, tuple[Transaction, dict[str, Any]]]]
) -> list[None]:
    events = [
        make_event(
            EventType.SIGNATURE_VERIFIED,
            "valid" if verdict["valid"] else "not_valid",
            asked.now,
            asked.origin,
            application_id=asked.asker.application.id,
            user_id=transaction.user_id,
            transaction_id=transaction.id,
            keyset_id=verdict["keyset"],
        )
        for asked, (transaction, verdict) in verified
    ]
    record(connection, events)
    return [None] * len(events)


_STEPS = Steps(
    kind="verifying",
    gather=_gather,
    keys_of=_keys_of,
    prove=_prove,
    order=lambda verified: verified[0].id,
    settle=_record,
    is_free=lambda *_: True,  # it only adds lines
)
