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
from gateway.scenarios.authentications_kept import CONFIRMED, keep, kept_of, refuse_by_score
from gateway.scenarios.context import Context
from gateway.scenarios.failures import count_user_failure
from gateway.scenarios.recording import make_event, record, use_request
from gateway.scenarios.scored import Scored, Seen, is_scored, weigh
from gateway.scenarios.user_lifecycle import block_after_failures
from gateway.store import users
from gateway.store.authentications import Authentication, find_by_message
from gateway.store.database import Connection
from gateway.wire import bodies, timestep
from gateway.wire.bodies import Proofs
from gateway.wire.message import Message, Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What was presented, what the device said of it, and what is kept if it is accepted (None: it is not)."""

    message: Message
    verdict: Verdict
    kept: Authentication | None
    scored: Scored | None = None


@dataclass(frozen=True, slots=True)
class _Settled:
    view: dict[str, Any]
    refusal: Refusal | None = None
    user_failures: int = 0


async def create_authentication(ctx: Context, caller: Caller) -> dict[str, Any]:
    """Authenticate the user and return ``authentication`` and ``status``; the application is told by callback.

    Raises:
        WireError: the body is malformed.
        Refusal: ``not_allowed_by_policy`` (no rule has this form, or biometrics), ``proof_refused``,
            ``score_too_high``.
    """
    body = bodies.Authentication.read(caller.envelope.body)
    caller.require_allowed_unlocking()
    match = require_match(caller.application.policy, caller.user.user_id, body.media_type, body.content)
    policy = caller.application.policy
    scored = await ctx.reading(_weigh, caller) if is_scored(policy, None) else None
    shown = await ctx.on_device(_prove, ctx, caller, body, match, scored)
    settled = await ctx.unit(_settle, caller, shown)
    if settled.user_failures >= policy.failures_most:
        await block_after_failures(ctx, caller.application, caller.user.user_id, caller.origin)
    if settled.refusal is not None:
        settled.refusal.recorded = True
        raise settled.refusal
    return settled.view


def _weigh(connection: Connection, caller: Caller) -> Scored | None:
    seen = Seen(
        keyset=caller.keyset,
        transaction=None,
        failures=caller.user.failures,
        device=caller.envelope.device,
        address=caller.origin.address,
        channel=ONLINE,
        now=caller.now,
    )
    return weigh(connection, caller.policy, seen)


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


def _prove(
    ctx: Context, caller: Caller, body: bodies.Authentication, match: Match, scored: Scored | None
) -> Shown:
    """Verify what was presented, and sign the receipt if all is right: one hop to the device."""
    keyset, now = caller.keyset, caller.now
    message = message_of(keyset, body.media_type, hashlib.sha256(body.content).digest(), body.proofs.step)
    verdict = judge(ctx, caller.application.policy, keyset, message, match, body.proofs, now)
    if not verdict.accepted:
        return Shown(message=message, verdict=verdict, kept=None)
    made = new_id("aut", now)
    claim = scored.claim if scored else None
    under = match.rule.name, ONLINE
    receipt = proofs.make_receipt(ctx, keyset, message, body.proofs, verdict, made, now, claim, under=under)
    kept = kept_of(
        keyset,
        message,
        id=made,
        under=under,
        code=body.proofs.code,
        signature=body.proofs.signature_der,
        verified=verdict.passed,
        device=caller.envelope.device,
        receipt=receipt,
        scored=scored,
        created_at=now,
    )
    return Shown(message=message, verdict=verdict, kept=kept, scored=scored)


def _settle(connection: Connection, caller: Caller, shown: Shown) -> _Settled:
    """Decide in one unit: replay mark, one use, event, callback. Everything of it is kept, or nothing."""
    use_request(connection, caller.keyset.id, caller.authcode, caller.now)
    user = users.lock_user(connection, caller.application.id, caller.user.user_id)
    require_unchanged(connection, caller, user, caller.now)
    if shown.kept is None:
        return _refuse(connection, caller, shown)
    above = shown.scored if shown.scored and shown.scored.is_above else None
    # What served already is only told again, to a phone that may have lost the answer.
    if above and not find_by_message(connection, caller.keyset.id, shown.kept.message_sha256):
        refuse_by_score(connection, caller.application, shown.kept, above, caller.origin)
        return _Settled({}, Refusal("score_too_high", above.why))
    kept = keep(connection, caller.application, shown.kept, caller.origin)
    return _Settled({"authentication": kept.id, "status": CONFIRMED})


def _refuse(connection: Connection, caller: Caller, shown: Shown) -> _Settled:
    """Count what was wrong; nothing of it is kept but the event."""
    failed = shown.verdict.failed
    event = make_event(
        EventType.AUTHENTICATION_REFUSED,
        "refused",
        caller.now,
        caller.origin,
        reason=f"wrong {failed}",
        detail={"device": caller.envelope.device},
        **caller.subject,
    )
    record(connection, [event])
    failures = 0
    if shown.verdict.counts:
        failures = count_user_failure(
            connection, caller.application, caller.user.user_id, caller.origin, caller.now
        )
    return _Settled({}, Refusal("proof_refused", f"wrong {failed}"), failures)
