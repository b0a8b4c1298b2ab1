"""How does a phone authenticate its user by content that it made itself: under a rule of the application, once.

Gather, prove and settle as for an answer to a transaction (``confirmation``), with the same count of failures.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.ids import new_id
from gateway.refusals import Refusal
from gateway.rules import confirmation as rules
from gateway.rules.authentication_rule import Match, find_match
from gateway.rules.confirmation import ONLINE, Verdict
from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset
from gateway.rules.policy import Policy
from gateway.scenarios import proofs
from gateway.scenarios.authentication import Caller, require_unchanged
from gateway.scenarios.context import Context
from gateway.scenarios.deliveries import enqueue
from gateway.scenarios.failures import count_user_failure
from gateway.scenarios.recording import Origin, make_event, record, use_request
from gateway.scenarios.representation import authentication_view
from gateway.scenarios.user_lifecycle import block_after_failures
from gateway.store import authentications, users
from gateway.store.applications import Application
from gateway.store.authentications import Authentication
from gateway.store.database import Connection
from gateway.wire import bodies, timestep
from gateway.wire.bodies import Proofs
from gateway.wire.message import Message, Operation

CONFIRMED = "confirmed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What was presented, what the device said of it, and what is kept if it is accepted (None: it is not)."""

    message: Message
    verdict: Verdict
    kept: Authentication | None


@dataclass(frozen=True, slots=True)
class _Settled:
    view: dict[str, Any]
    refusal: Refusal | None = None
    user_failures: int = 0


async def create_authentication(ctx: Context, caller: Caller) -> dict[str, Any]:
    """Authenticate the user and return ``authentication`` and ``status``; the application is told by callback.

    Raises:
        WireError: the body is malformed.
        Refusal: ``not_allowed_by_policy`` (no rule has this form), ``proof_refused``.
    """
    body = bodies.Authentication.read(caller.envelope.body)
    caller.require_allowed_unlocking()
    match = require_match(caller.application.policy, caller.user.user_id, body.media_type, body.content)
    shown = await ctx.on_device(_prove, ctx, caller, body, match)
    settled = await ctx.unit(_settle, caller, shown)
    if settled.user_failures >= caller.application.policy.failures_most:
        await block_after_failures(ctx, caller.application, caller.user.user_id, caller.origin)
    if settled.refusal is not None:
        settled.refusal.recorded = True
        raise settled.refusal
    return settled.view


def require_match(policy: Policy, user_id: str, media_type: str, content: bytes) -> Match:
    """Return the rule that the content follows; refuses content that follows none."""
    match = find_match(policy.authentication_rules, user_id, media_type, content)
    if match is None:
        detail = "No rule of the policy has this form."
        raise Refusal("not_allowed_by_policy", "content that follows no rule", detail=detail)
    return match


def message_of(keyset: Keyset, media_type: str, content_sha256: bytes, step: int) -> Message:
    """Return what code and signature stand for: content that stands alone, without transaction and title."""
    return Message(
        operation=Operation.AUTHENTICATE,
        application=keyset.application_id,
        user=keyset.user_id,
        media_type=media_type,
        content_digest=content_sha256,
        fingerprint=keyset.fingerprint,
        step=step,
    )


def judge(
    ctx: Context, policy: Policy, keyset: Keyset, message: Message, match: Match, shown: Proofs, now: datetime
) -> Verdict:
    """Verify step, time, code and signature. Talks to the device."""
    needs_signature = rules.signature_required(
        registered=keyset.kpublic is not None,
        policy_requires=policy.kpublic_required,
        transaction_requires=False,
    )
    timely = is_timely(match, keyset, policy, shown.step, now)
    return proofs.verify(
        ctx, keyset, message, shown, policy, now, needs_signature=needs_signature, is_timely=timely
    )


def is_timely(match: Match, keyset: Keyset, policy: Policy, step: int, now: datetime) -> bool:
    """Say whether the time inside the content fits the step and the moment."""
    seconds = keyset.step_seconds
    if step * seconds > timestep.LATEST:
        return False
    window = timestep.window(now, seconds, policy.steps_back, policy.steps_ahead)
    start, earliest, latest = (
        timestep.moment_at(each * seconds) for each in (step, window.start, window.stop)
    )
    return match.is_timely(start, earliest, latest)


def _prove(ctx: Context, caller: Caller, body: bodies.Authentication, match: Match) -> Shown:
    """Verify what was presented, and sign the receipt if all is right: one hop to the device."""
    keyset, now = caller.keyset, caller.now
    message = message_of(keyset, body.media_type, hashlib.sha256(body.content).digest(), body.proofs.step)
    verdict = judge(ctx, caller.application.policy, keyset, message, match, body.proofs, now)
    if not verdict.accepted:
        return Shown(message=message, verdict=verdict, kept=None)
    made = new_id("aut", now)
    receipt = proofs.make_receipt(ctx, keyset, message, body.proofs, verdict, made, now)
    kept = kept_of(
        keyset,
        message,
        id=made,
        rule=match.rule.name,
        channel=ONLINE,
        code=body.proofs.code,
        signature=body.proofs.signature_der,
        verified=verdict.passed,
        device=caller.envelope.device,
        receipt=receipt,
        created_at=now,
    )
    return Shown(message=message, verdict=verdict, kept=kept)


def kept_of(
    keyset: Keyset,
    message: Message,
    *,
    id: str,  # noqa: A002
    rule: str,
    channel: str,
    code: bytes,
    signature: bytes | None = None,
    verified: tuple[str, ...],
    device: dict[str, Any] | None = None,
    receipt: str,
    created_at: datetime,
) -> Authentication:
    """Return what is kept of an authentication: all but the content."""
    return Authentication(
        id=id,
        application_id=keyset.application_id,
        user_id=keyset.user_id,
        keyset_id=keyset.id,
        rule=rule,
        channel=channel,
        media_type=message.media_type,
        content_sha256=message.content_digest,
        message_sha256=message.digest(),
        step=message.step,
        code=code,
        signature=signature,
        verified=verified,
        device=device or {},
        receipt=receipt,
        created_at=created_at,
    )


def _settle(connection: Connection, caller: Caller, shown: Shown) -> _Settled:
    """Decide in one unit: replay mark, one use, event, callback. Everything of it is kept, or nothing."""
    use_request(connection, caller.keyset.id, caller.authcode, caller.now)
    user = users.lock_user(connection, caller.application.id, caller.user.user_id)
    require_unchanged(connection, caller, user, caller.now)
    if shown.kept is None:
        return _refuse(connection, caller, shown)
    kept = keep(connection, caller.application, shown.kept, caller.origin)
    return _Settled({"authentication": kept.id, "status": CONFIRMED})


def keep(
    connection: Connection, application: Application, made: Authentication, origin: Origin
) -> Authentication:
    """Keep it, record it and tell the application; return the earlier one where the message has served already."""
    if authentications.insert_authentication(connection, made):
        # Not by a message that served already: who saw one pass could start the count anew with it.
        users.clear_failures(connection, application.id, made.user_id)
        record(connection, [_event(EventType.AUTHENTICATION_CONFIRMED, CONFIRMED, made, origin)])
        data = {"authentication": authentication_view(made), "receipt": made.receipt}
        enqueue(connection, application, EventType.AUTHENTICATION_CONFIRMED, data, made.created_at)
        return made
    earlier = authentications.find_by_message(connection, made.keyset_id, made.message_sha256)
    assert earlier is not None
    again = _event(EventType.AUTHENTICATION_REPEATED, "repeated", made, origin, served_as=earlier.id)
    record(connection, [again])
    return earlier


def _event(type_: EventType, result: str, made: Authentication, origin: Origin, **more: Any) -> Any:
    return make_event(
        type_,
        result,
        made.created_at,
        origin,
        application_id=made.application_id,
        user_id=made.user_id,
        keyset_id=made.keyset_id,
        detail={"authentication": made.id, "rule": made.rule, "device": made.device, **more},
    )


def _refuse(connection: Connection, caller: Caller, shown: Shown) -> _Settled:
    """Count what was wrong; nothing of it is kept but the event."""
    failed = shown.verdict.failed
    event = make_event(
        EventType.AUTHENTICATION_REFUSED,
        "refused",
        caller.now,
        caller.origin,
        reason=f"wrong {failed}",
        application_id=caller.application.id,
        user_id=caller.user.user_id,
        keyset_id=caller.keyset.id,
        detail={"device": caller.envelope.device},
    )
    record(connection, [event])
    failures = 0
    if shown.verdict.counts:
        failures = count_user_failure(
            connection, caller.application, caller.user.user_id, caller.origin, caller.now
        )
    return _Settled({}, Refusal("proof_refused", f"wrong {failed}"), failures)
