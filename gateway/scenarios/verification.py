"""Was this signed: verifying a past answer with the keys of that moment, long after the content is gone."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.refusals import Refusal
from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset
from gateway.rules.transaction import Kind, Transaction
from gateway.rules.user import User
from gateway.scenarios import bindings, proofs
from gateway.scenarios.access import Asker
from gateway.scenarios.context import Context
from gateway.scenarios.recording import Origin, make_event, record
from gateway.store import keysets, transactions, users
from gateway.store.database import Connection
from gateway.store.transactions import Attempt
from gateway.wire import signature as signatures
from gateway.wire.message import Message, Operation
from gateway.wire.timestep import format_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an application asks to have verified; at least one of code and signature (DER) is there."""

    transaction_id: str
    operation: str
    content_sha256: bytes | None
    step: int
    code: bytes | None
    signature: bytes | None


@dataclass(frozen=True, slots=True)
class _Candidate:
    attempt: Attempt
    keyset: Keyset


async def verify_signature(ctx: Context, asker: Asker, question: Question, origin: Origin) -> dict[str, Any]:
    """Verify an answer to a transaction and return the verdict.

    The keyset is the one the answer was given with; the verdict tells its state then and now.

    Raises:
        Refusal: ``not_found``, ``integrity_failure``.
        WireError: the signature is not strict DER.
    """
    raw = None if question.signature is None else signatures.raw_from_der(question.signature)
    transaction, user, candidates = await ctx.reading(_gather, asker, question)
    verdict = await ctx.on_device(_prove, ctx, question, raw, transaction, user, candidates)
    await ctx.unit(_record, ctx, asker, transaction, verdict, origin)
    return verdict


def _gather(
    connection: Connection, asker: Asker, question: Question
) -> tuple[Transaction, User, list[_Candidate]]:
    application_id = asker.application.id
    transaction = transactions.find_transaction(connection, application_id, question.transaction_id)
    if transaction is None:
        raise Refusal("not_found", "unknown transaction")
    user = users.find_user(connection, application_id, transaction.user_id)
    assert user is not None
    candidates = []
    for attempt in transactions.attempts_of(connection, transaction.id):
        keyset = keysets.find_keyset(connection, attempt.keyset_id)
        if keyset is not None and attempt.step == question.step:
            candidates.append(_Candidate(attempt, keyset))
    return transaction, user, candidates


def _message(question: Question, transaction: Transaction, keyset: Keyset) -> Message:
    operation = Operation.DECLINE
    if question.operation == "approve":
        kind_signs = transaction.kind is Kind.SIGN
        operation = Operation.APPROVE if kind_signs else Operation.AUTHENTICATE
    return proofs.message_about(
        transaction, operation, keyset.fingerprint, question.step, question.content_sha256
    )


def _prove(
    ctx: Context,
    question: Question,
    raw: bytes | None,
    transaction: Transaction,
    user: User,
    candidates: list[_Candidate],
) -> dict[str, Any]:
    """Try the keysets that answered in that step; the first under which everything holds is the answer."""
    verdict: dict[str, Any] = _no_key(transaction)
    seen: set[str] = set()
    for candidate in candidates:
        if candidate.keyset.id in seen:
            continue
        seen.add(candidate.keyset.id)
        verdict = _try(ctx, question, raw, transaction, user, candidate)
        if verdict["valid"]:
            return verdict
    return verdict


def _try(
    ctx: Context,
    question: Question,
    raw: bytes | None,
    transaction: Transaction,
    user: User,
    candidate: _Candidate,
) -> dict[str, Any]:
    keyset = candidate.keyset
    # The row of the attempt, which names the keyset, is under no seal: the user's own keys count and no others.
    if (keyset.application_id, keyset.user_id) != (transaction.application_id, transaction.user_id):
        raise bindings.BrokenBinding(keyset)
    bindings.require_bound(ctx, keyset, user.status)
    message = _message(question, transaction, keyset)
    results: dict[str, bool] = {}
    if question.code is not None:
        results["code"] = proofs.code_matches(ctx, keyset.khmac, message, question.code)
    if raw is not None:
        results["signature"] = proofs.signature_matches(ctx, keyset.kpublic, message, raw)
    return {
        "valid": bool(results) and all(results.values()),
        "checks": results,
        "operation": message.operation.name.lower(),
        "transaction": transaction.id,
        "transaction_status": transaction.status,
        "user": user.user_id,
        "user_status": user.status,
        "keyset": keyset.id,
        "device": keyset.device_id,
        "keyset_status_then": _status_then(keyset, candidate.attempt.created_at),
        "keyset_status_now": keyset.status,
        "signed_at": format_time(candidate.attempt.created_at),
        "content_sha256_matches": message.content_digest == transaction.content_sha256,
        "checked_at": format_time(ctx.clock.now()),
    }


def _status_then(keyset: Keyset, then: datetime) -> str:
    if keyset.ended_at is not None and keyset.ended_at <= then:
        return str(keyset.status)
    if keyset.registered_at is not None and keyset.registered_at <= then:
        return "active"
    return "issued"


def _no_key(transaction: Transaction) -> dict[str, Any]:
    return {
        "valid": False,
        "checks": {},
        "transaction": transaction.id,
        "transaction_status": transaction.status,
        "keyset": None,
        "device": None,
        "keyset_status_then": None,
        "keyset_status_now": None,
    }


def digest_of(content: bytes) -> bytes:
    """Return the digest under which content enters a message."""
    return hashlib.sha256(content).digest()


def _record(
    connection: Connection,
    ctx: Context,
    asker: Asker,
    transaction: Transaction,
    verdict: dict[str, Any],
    origin: Origin,
) -> None:
    event = make_event(
        EventType.SIGNATURE_VERIFIED,
        "valid" if verdict["valid"] else "not_valid",
        ctx.clock.now(),
        origin,
        application_id=asker.application.id,
        user_id=transaction.user_id,
        transaction_id=transaction.id,
        keyset_id=verdict["keyset"],
    )
    record(connection, [event])
