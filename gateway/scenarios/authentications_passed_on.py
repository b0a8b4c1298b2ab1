"""How does an application have a user authenticated by what the phone gave it: full proofs, or digits the user typed.

Nothing of the phone's door is involved. A guess of digits is judged under the lock under which failures are counted,
as in ``offline``; a wrong full code is no guess and does not count.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.ids import new_id
from gateway.refusals import Refusal
from gateway.rules import keyset as keyset_rules
from gateway.rules import user as user_rules
from gateway.rules.authentication_rule import AuthenticationRule
from gateway.rules.confirmation import OFFLINE, PASSED_ON
from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset
from gateway.rules.user import User
from gateway.scenarios import bindings, proofs
from gateway.scenarios.access import Asker
from gateway.scenarios.authentications import judge, message_of, require_match
from gateway.scenarios.authentications_kept import keep, kept_of, refuse_by_score
from gateway.scenarios.context import Context
from gateway.scenarios.failures import count_user_failure
from gateway.scenarios.recording import Origin, make_event, record
from gateway.scenarios.representation import authentication_view
from gateway.scenarios.scored import Scored, Seen, weigh
from gateway.scenarios.user_lifecycle import block_after_failures
from gateway.store import authentications, keysets, users
from gateway.store.authentications import Authentication
from gateway.store.database import Connection
from gateway.wire import timestep
from gateway.wire.bodies import Proofs
from gateway.wire.code import check_short_code
from gateway.wire.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOn:
    """Content and full proofs, as a phone gave them to the application."""

    media_type: str
    content: bytes
    shown: Proofs


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """Digits, and the rule that says over which content they were made."""

    rule: str
    digits: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    user: User
    usable: list[Keyset]
    scored: dict[str, Scored | None]  # by keyset


@dataclass(frozen=True, slots=True, kw_only=True)
class _Proved:
    """What the device said: what is kept if it fits, and whether it counts if not."""

    keyset: Keyset
    kept: Authentication | None
    scored: Scored | None = None
    why: str = ""
    counts: bool = False


@dataclass(frozen=True, slots=True)
class _Settled:
    kept: Authentication | None
    failures: int = 0


async def pass_on(
    ctx: Context, asker: Asker, user_id: str, given: PassedOn | Typed, origin: Origin
) -> dict[str, Any]:
    """Authenticate the user and return the authentication with its receipt.

    Raises:
        WireError: the digits are not as many as the keysets of the user have; that is no guess and does not count.
        Refusal: ``not_found``, ``user_blocked``, ``user_deleted``, ``no_active_keys``, ``not_allowed_by_policy``,
            ``proof_refused``, ``score_too_high``, ``already_used``, ``integrity_failure``.
    """
    now = ctx.clock.now()
    channel = OFFLINE if isinstance(given, Typed) else PASSED_ON
    facts = await ctx.reading(_gather, asker, user_id, channel, now)
    proved = await ctx.on_device(_prove, ctx, asker, facts, given, now)
    settled = await ctx.unit(_settle, asker, proved, origin, now)
    if settled.failures >= asker.application.policy.failures_most:
        await block_after_failures(ctx, asker.application, user_id, origin)
    if settled.kept is None and proved.kept is not None and proved.scored is not None:
        raise Refusal("score_too_high", proved.scored.why)
    if settled.kept is None:
        raise Refusal("proof_refused", proved.why)
    if proved.kept is None or settled.kept.id != proved.kept.id:
        raise Refusal("already_used", f"served as {settled.kept.id}")
    return _view(settled.kept)


def _view(made: Authentication) -> dict[str, Any]:
    return authentication_view(made) | {"receipt": made.receipt}


async def fetch_authentication(ctx: Context, asker: Asker, authentication_id: str) -> dict[str, Any]:
    """Return one authentication; refuses an id that is not the application's."""
    found = await ctx.reading(authentications.find_authentication, asker.application.id, authentication_id)
    if found is None:
        raise Refusal("not_found", "unknown authentication")
    return _view(found)


async def list_authentications(
    ctx: Context, asker: Asker, user_id: str, *, after: str | None, limit: int
) -> list[dict[str, Any]]:
    """Return a page of the user's authentications, newest first; refuses an unknown user."""
    return [_view(each) for each in await ctx.reading(_page, asker, user_id, after=after, limit=limit)]


def _page(
    connection: Connection, asker: Asker, user_id: str, *, after: str | None, limit: int
) -> list[Authentication]:
    if users.find_user(connection, asker.application.id, user_id) is None:
        raise Refusal("not_found", "unknown user")
    return authentications.list_authentications(
        connection, asker.application.id, user_id, after=after, limit=limit
    )


def _gather(connection: Connection, asker: Asker, user_id: str, channel: str, now: datetime) -> _Facts:
    application = asker.application
    user = users.find_user(connection, application.id, user_id)
    if user is None:
        raise Refusal("not_found", "unknown user")
    user_rules.require_open(user, application.policy.failures_most)
    found = keysets.keysets_of(connection, application.id, user_id)
    usable = [each for each in found if _is_usable(asker, each, now)]
    if not usable:
        raise Refusal("no_active_keys")
    scored = {each.id: _weigh(connection, asker, user, each, channel, now) for each in usable}
    return _Facts(user=user, usable=usable, scored=scored)


def _weigh(
    connection: Connection, asker: Asker, user: User, keyset: Keyset, channel: str, now: datetime
) -> Scored | None:
    seen = Seen(
        keyset=keyset,
        transaction=None,
        failures=user.failures,
        device={},
        address=None,
        channel=channel,
        now=now,
    )
    return weigh(connection, asker.application.policy, seen)


def _is_usable(asker: Asker, keyset: Keyset, now: datetime) -> bool:
    required = asker.application.policy.kpublic_required
    return keyset_rules.why_unusable(keyset, now, registering=False, kpublic_required=required) is None


def _prove(ctx: Context, asker: Asker, facts: _Facts, given: PassedOn | Typed, now: datetime) -> _Proved:
    for keyset in facts.usable:
        bindings.require_bound(ctx, keyset, facts.user.status)
    if isinstance(given, Typed):
        return _prove_digits(ctx, asker, facts, given, now)
    return _prove_in_full(ctx, asker, facts, given, now)


def _prove_in_full(ctx: Context, asker: Asker, facts: _Facts, given: PassedOn, now: datetime) -> _Proved:
    """Try every keyset, always all of them: the proofs do not name theirs."""
    policy = asker.application.policy
    match = require_match(policy, facts.user.user_id, given.media_type, given.content)
    digest = hashlib.sha256(given.content).digest()
    fitting: _Proved | None = None
    failed = "code"
    for keyset in facts.usable:
        message = message_of(keyset, given.media_type, digest, given.shown.step)
        verdict = judge(ctx, policy, keyset, message, match, given.shown, now)
        if not verdict.accepted:
            failed = str(verdict.failed)
            continue
        made = new_id("aut", now)
        scored = facts.scored[keyset.id]
        claim = scored.claim if scored else None
        under = match.rule.name, PASSED_ON
        receipt = proofs.make_receipt(
            ctx, keyset, message, given.shown, verdict, made, now, claim, under=under
        )
        kept = kept_of(
            keyset,
            message,
            id=made,
            under=under,
            code=given.shown.code,
            signature=given.shown.signature_der,
            verified=verdict.passed,
            receipt=receipt,
            scored=scored,
            created_at=now,
        )
        fitting = _Proved(keyset=keyset, kept=kept, scored=scored)
    return fitting or _Proved(keyset=facts.usable[-1], kept=None, why=f"wrong {failed}")


def _prove_digits(ctx: Context, asker: Asker, facts: _Facts, given: Typed, now: datetime) -> _Proved:
    """Try every keyset in every step of the window, always all of them: the digits name neither."""
    rule = _require_rule(asker, given)
    under = rule.name, OFFLINE
    usable = [each for each in facts.usable if each.digits == len(given.digits)]
    if not usable:
        check_short_code(given.digits, facts.usable[-1].digits)
    fitting: _Proved | None = None
    for keyset in usable:
        check_short_code(given.digits, keyset.digits)
        for message in _messages(asker, keyset, rule, now):
            if proofs.short_code_matches(ctx, keyset, message, given.digits, keyset.digits):
                made = new_id("aut", now)
                scored = facts.scored[keyset.id]
                claim = scored.claim if scored else None
                receipt = proofs.make_short_receipt(
                    ctx, keyset, message, given.digits, made, now, claim, under=under
                )
                kept = kept_of(
                    keyset,
                    message,
                    id=made,
                    under=under,
                    code=given.digits.encode(),
                    verified=proofs.SHORT_VERIFIED,
                    receipt=receipt,
                    scored=scored,
                    created_at=now,
                )
                fitting = _Proved(keyset=keyset, kept=kept, scored=scored)
    return fitting or _Proved(keyset=usable[-1], kept=None, why="wrong short code", counts=True)


def _require_rule(asker: Asker, given: Typed) -> AuthenticationRule:
    policy = asker.application.policy
    if not policy.offline_allowed:
        raise Refusal("not_allowed_by_policy", detail="The policy does not allow short codes.")
    rule = next((each for each in policy.authentication_rules if each.name == given.rule), None)
    if rule is None or not rule.is_known_beforehand:
        detail = "Short codes need a rule of the policy whose content is known beforehand: with `{step}`."
        raise Refusal("not_allowed_by_policy", "no such rule for short codes", detail=detail)
    return rule


def _messages(asker: Asker, keyset: Keyset, rule: AuthenticationRule, now: datetime) -> Iterator[Message]:
    policy, seconds = asker.application.policy, keyset.step_seconds
    for step in timestep.window(now, seconds, policy.steps_back, policy.steps_ahead):
        content = rule.write(keyset.user_id, timestep.moment_at(step * seconds))
        yield message_of(keyset, rule.media_type, hashlib.sha256(content).digest(), step)


def _settle(connection: Connection, asker: Asker, proved: _Proved, origin: Origin, now: datetime) -> _Settled:
    """Decide in one unit; whatever the device said, the user and the keyset must still be open."""
    application, keyset = asker.application, proved.keyset
    user = users.lock_user(connection, application.id, keyset.user_id)
    if user is None:
        raise Refusal("not_found", "the user is gone")
    user_rules.require_open(user, application.policy.failures_most)
    present = keysets.find_keyset(connection, keyset.id)
    if present is None or not _is_usable(asker, present, now):
        raise Refusal("no_active_keys", "the keyset ended meanwhile")
    if proved.kept is not None and proved.scored is not None and proved.scored.is_above:
        refuse_by_score(connection, application, proved.kept, proved.scored, origin)
        return _Settled(None)
    if proved.kept is not None:
        return _Settled(keep(connection, application, proved.kept, origin))
    event = make_event(
        EventType.AUTHENTICATION_REFUSED,
        "refused",
        now,
        origin,
        reason=proved.why,
        application_id=application.id,
        user_id=keyset.user_id,
    )
    record(connection, [event])
    if not proved.counts:
        return _Settled(None)
    return _Settled(None, count_user_failure(connection, application, keyset.user_id, origin, now))
