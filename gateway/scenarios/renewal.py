"""How does a phone renew its keys: proved with the old ones, the new ones sealed to a key that it made for this.

The old keyset goes on until the phone has registered the new one (``registration``). So a phone can go on after any
interruption: it asks once more with the old keys, and the renewal before is void.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gateway.refusals import Refusal
from gateway.rules import confirmation as rules
from gateway.rules import keyset as keyset_rules
from gateway.rules.confirmation import Verdict
from gateway.rules.event import EventType
from gateway.rules.keyset import Delivery, Keyset, KeysetAction, KeysetStatus
from gateway.rules.user import User
from gateway.scenarios import bindings, keynames, proofs
from gateway.scenarios.adoption import new_keyset
from gateway.scenarios.authentication import Caller, require_unchanged
from gateway.scenarios.context import Context
from gateway.scenarios.ending import ended_by
from gateway.scenarios.failures import count_user_failure
from gateway.scenarios.packaging import Plan, Sealing, make_package
from gateway.scenarios.personalization import new_plan
from gateway.scenarios.recording import make_event, record, use_request
from gateway.scenarios.user_lifecycle import block_after_failures
from gateway.store import keysets, loose_keys, users
from gateway.store.database import Connection
from gateway.wire import base64s, rsakey
from gateway.wire.bodies import Renew
from gateway.wire.message import KEY_MEDIA_TYPE, Message, Operation

_TRIES = 5


@dataclass(frozen=True, slots=True)
class _Bound:
    """What is written at the end: the new keyset, and the earlier renewals (as seen, as voided)."""

    fresh: Keyset
    voided: list[tuple[Keyset, Keyset]]


async def renew_keys(ctx: Context, caller: Caller) -> dict[str, Any]:
    """Make new keys for the phone and return their ``package``; it registers them next, and then the old ones end.

    Raises:
        WireError: the body is malformed.
        Refusal: ``proof_refused``, ``not_allowed_by_policy``, ``too_many_renewals``, ``concurrent_change``.
        hsm.errors.DeliveryRefused: the token cannot wrap keys.
    """
    body = Renew.read(caller.envelope.body)
    if not caller.policy.renewal_allowed:
        detail = "The policy keeps phones from renewing keys: the application issues new ones."
        raise Refusal("not_allowed_by_policy", "renewal is not allowed", detail=detail)
    caller.require_allowed_unlocking()
    verdict = await ctx.on_device(_prove, ctx, caller, body)
    if not verdict.accepted:
        await _refuse(ctx, caller, verdict)
    modulus, exponent = rsakey.rsa_from_spki(body.wrap_key, least_bits=rsakey.LEAST_BITS_TO_RENEW)
    keyset = caller.keyset
    sealed = Delivery.SEALED
    plan = new_plan(ctx, caller.application, caller.policy, keyset.user_id, sealed, keyset.device_id)
    plan = replace(plan, sealing=Sealing(modulus, exponent, body.oaep), renews=keyset.id)
    await ctx.unit(_plan_keys, caller, plan)
    try:
        package = await ctx.on_device(make_package, ctx, plan)
        await _adopt(ctx, caller, plan, new_keyset(plan, package))
    except BaseException:
        await ctx.unit(loose_keys.doom_unowned, plan.stored, plan.keyset_id, ctx.clock.now())
        raise
    return {"package": base64s.encode(package.encode())}


def _prove(ctx: Context, caller: Caller, body: Renew) -> Verdict:
    keyset, policy = caller.keyset, caller.application.policy
    message = Message(
        operation=Operation.RENEW_KEYS,
        application=caller.application.id,
        user=caller.user.user_id,
        media_type=KEY_MEDIA_TYPE,
        content_digest=hashlib.sha256(body.wrap_key).digest(),
        fingerprint=keyset.fingerprint,
        step=body.proofs.step,
    )
    needs_signature = rules.signature_required(
        registered=keyset.kpublic is not None,
        policy_requires=policy.kpublic_required,
        transaction_requires=False,
    )
    return proofs.verify(
        ctx, keyset, message, body.proofs, policy, caller.now, needs_signature=needs_signature
    )


async def _refuse(ctx: Context, caller: Caller, verdict: Verdict) -> None:
    failures = await ctx.unit(_write_refusal, caller, verdict)
    if failures >= caller.application.policy.failures_most:
        await block_after_failures(ctx, caller.application, caller.user.user_id, caller.origin)
    raise Refusal("proof_refused", f"wrong {verdict.failed}", recorded=True)


def _write_refusal(connection: Connection, caller: Caller, verdict: Verdict) -> int:
    use_request(connection, caller.keyset.id, caller.authcode, caller.now)
    event = make_event(
        EventType.PROOF_REFUSED,
        "refused",
        caller.now,
        caller.origin,
        reason=f"wrong {verdict.failed} at renewal",
        detail={"device": caller.envelope.device},
        **caller.subject,
    )
    record(connection, [event])
    if not verdict.counts:
        return 0
    return count_user_failure(connection, caller.application, caller.user.user_id, caller.origin, caller.now)


def _plan_keys(connection: Connection, caller: Caller, plan: Plan) -> None:
    user = users.lock_user(connection, caller.application.id, caller.user.user_id)
    require_unchanged(connection, caller, user, caller.now)
    present = keysets.keysets_of(connection, caller.application.id, caller.user.user_id)
    keyset_rules.require_few_renewals(present, plan.device_id, plan.now)
    loose_keys.plan_keys(connection, plan.stored, plan.keyset_id, plan.now)


async def _adopt(ctx: Context, caller: Caller, plan: Plan, fresh: Keyset) -> None:
    """Write the keyset with the HSM's MAC; begin again if the user changed meanwhile."""
    for _ in range(_TRIES):
        user, present = await ctx.reading(_gather, caller)
        bound = await ctx.on_device(_bind, ctx, caller, fresh, user, present, ctx.clock.now())
        if await ctx.unit(_write, caller, plan, user, bound):
            return
    raise Refusal("concurrent_change")


def _gather(connection: Connection, caller: Caller) -> tuple[User, list[Keyset]]:
    user = users.find_user(connection, caller.application.id, caller.user.user_id)
    require_unchanged(connection, caller, user, caller.now)
    assert user is not None
    return user, keysets.keysets_of(connection, user.application_id, user.user_id)


def _bind(
    ctx: Context, caller: Caller, fresh: Keyset, user: User, present: Sequence[Keyset], now: datetime
) -> _Bound:
    voided = []
    for keyset in present:
        bindings.require_bound(ctx, keyset, user.status)
        if keyset.renews == caller.keyset.id and keyset.status is KeysetStatus.ISSUED:
            ended = ended_by(ctx, keyset, KeysetAction.VOID, user.status, now, answered=False)
            voided.append((keyset, ended))
    return _Bound(bindings.bind(ctx, fresh, user.status), voided)


def _write(connection: Connection, caller: Caller, plan: Plan, user: User, bound: _Bound) -> bool:
    """Write it all in one unit; False if user or keysets changed since they were seen."""
    if not users.raise_version(connection, user):
        return False
    use_request(connection, caller.keyset.id, caller.authcode, caller.now)
    if not loose_keys.adopt_keys(connection, plan.stored):
        raise Refusal("concurrent_change", "the sweep was faster than the renewal")
    keysets.insert_keyset(connection, bound.fresh)
    ids = {"application_id": plan.application_id, "user_id": plan.user_id}
    detail = {
        "delivery": plan.delivery,
        "renews": plan.renews,
        "device_id": plan.device_id,
        "policy_version": plan.policy_version,
        "device": caller.envelope.device,
    }
    lines = [
        make_event(
            EventType.KEYSET_ISSUED,
            "issued",
            plan.now,
            caller.origin,
            keyset_id=plan.keyset_id,
            detail=detail,
            **ids,
        )
    ]
    for seen, ended in bound.voided:
        keysets.change_keyset(connection, seen, ended)
        loose_keys.doom_keys(connection, keynames.on_token([seen.khmac, seen.kauth]), seen.id, plan.now)
        subject = {**ids, "keyset_id": seen.id, "reason": "renewed again"}
        lines.append(make_event(EventType.KEYSET_ENDED, "void", plan.now, caller.origin, **subject))
    record(connection, lines)
    return True
