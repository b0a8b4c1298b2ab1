"""Was this user authenticated with these proofs: verified long after, with the keys of that time.

The row is under no MAC of its own; its receipt, signed by the HSM, must say the same.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gateway.refusals import Refusal
from gateway.rules.confirmation import OFFLINE, Outcome
from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset
from gateway.rules.user import User
from gateway.scenarios import bindings, proofs
from gateway.scenarios.access import Asker
from gateway.scenarios.authentications import message_of
from gateway.scenarios.context import Context
from gateway.scenarios.questions import Question, missing_proofs, status_then
from gateway.scenarios.receipts import vouched_message
from gateway.scenarios.recording import Origin, make_event, record
from gateway.scenarios.representation import code_view
from gateway.store import authentications, keysets, users
from gateway.store.authentications import Authentication
from gateway.store.database import Connection
from gateway.wire import base64s
from gateway.wire import signature as signatures
from gateway.wire.message import Message
from gateway.wire.timestep import format_time, unix_seconds


@dataclass(frozen=True, slots=True)
class _Facts:
    made: Authentication
    keyset: Keyset
    user: User


async def verify_authentication(
    ctx: Context, asker: Asker, question: Question, origin: Origin
) -> dict[str, Any]:
    """Verify a past authentication and return the verdict, in the form of that of an answer.

    Raises:
        Refusal: ``not_found``, ``integrity_failure``.
        WireError: the signature is not strict DER.
    """
    raw = None if question.signature is None else signatures.raw_from_der(question.signature)
    facts = await ctx.reading(_gather, asker, question.about_id)
    checks, message = await ctx.on_device(_prove, ctx, facts, question, raw)
    verdict = _verdict(facts, question, checks, message, ctx.clock.now())
    await ctx.unit(_record, facts.made, verdict, origin, ctx.clock.now())
    return verdict


def _gather(connection: Connection, asker: Asker, authentication_id: str) -> _Facts:
    made = authentications.find_authentication(connection, asker.application.id, authentication_id)
    if made is None:
        raise Refusal("not_found", "unknown authentication")
    keyset = keysets.find_keyset(connection, made.keyset_id)
    user = users.find_user(connection, made.application_id, made.user_id)
    assert keyset is not None
    assert user is not None
    return _Facts(made, keyset, user)


def _prove(
    ctx: Context, facts: _Facts, question: Question, raw: bytes | None
) -> tuple[dict[str, bool], Message]:
    made, keyset = facts.made, facts.keyset
    if (keyset.application_id, keyset.user_id) != (made.application_id, made.user_id):
        raise bindings.BrokenBinding(keyset)
    bindings.require_bound(ctx, keyset, facts.user.status)
    # The fingerprint of that time: a keyset that need not be registered may have got its own since.
    fingerprint = _signed_message(ctx, made, keyset).fingerprint
    digest = question.content_sha256 or made.content_sha256
    message = replace(message_of(keyset, made.media_type, digest, question.step), fingerprint=fingerprint)
    checks: dict[str, bool] = {}
    if isinstance(question.code, bytes):
        checks["code"] = proofs.code_matches(ctx, keyset, message, question.code)
    elif question.code is not None:
        # Digits are compared with those that were accepted alone: nothing counts guesses here.
        checks["code"] = made.channel == OFFLINE and proofs.short_code_matches(
            ctx, keyset, message, question.code, len(made.code)
        )
    if raw is not None:
        checks["signature"] = proofs.signature_matches(ctx, keyset.kpublic, message, raw)
    return checks, message


def _signed_message(ctx: Context, made: Authentication, keyset: Keyset) -> Message:
    """Return what its receipt says it was about; refuse a row that the HSM did not vouch for."""
    told = {
        "jti": made.id,
        "iat": unix_seconds(made.created_at),
        "keyset": made.keyset_id,
        "code": code_view(made),
        "signature": None if made.signature is None else base64s.encode(made.signature),
        "rule": made.rule,
        "channel": made.channel,
    }
    said = vouched_message(ctx, made.receipt, told)
    written = message_of(keyset, made.media_type, made.content_sha256, made.step)
    if said is None or said != replace(written, fingerprint=said.fingerprint):
        raise Refusal("integrity_failure", f"{made.id} is not what its receipt says")
    return said


def _verdict(
    facts: _Facts, question: Question, checks: dict[str, bool], message: Message, now: datetime
) -> dict[str, Any]:
    made, keyset = facts.made, facts.keyset
    outcome = Outcome.ACCEPTED if question.step == made.step else None
    return {
        "valid": outcome is not None and bool(checks) and all(checks.values()),
        "outcome": outcome,
        "checks": checks,
        "missing": missing_proofs(question, made) if outcome is not None else [],
        "operation": message.operation.name.lower(),
        "content_sha256_matches": message.content_digest == made.content_sha256,
        "checked_at": format_time(now),
        "authentication": made.id,
        "transaction": None,
        "transaction_status": None,
        "user": made.user_id,
        "user_status": facts.user.status,
        "keyset": keyset.id,
        "device": keyset.device_id,
        "keyset_status_then": status_then(keyset, made.created_at),
        "keyset_status_now": keyset.status,
        "signed_at": format_time(made.created_at),
    }


def _record(
    connection: Connection, made: Authentication, verdict: dict[str, Any], origin: Origin, now: datetime
) -> None:
    event = make_event(
        EventType.SIGNATURE_VERIFIED,
        "valid" if verdict["valid"] else "not_valid",
        now,
        origin,
        application_id=made.application_id,
        user_id=made.user_id,
        keyset_id=made.keyset_id,
        detail={"authentication": made.id},
    )
    record(connection, [event])
