"""How does a user get keys: planned in a row, made in the HSM, adopted by a keyset, delivered once.

The row of what is about to be made is written first, the objects are made second, the keyset is written last;
whatever a killed process leaves on the token is known to a row and swept away.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from gateway.ids import new_id
from gateway.refusals import Refusal
from gateway.rules import keyset as keyset_rules
from gateway.rules import user as user_rules
from gateway.rules.event import EventType
from gateway.rules.keyset import Delivery, Keyset, KeysetAction, KeysetStatus
from gateway.rules.policy import Policy
from gateway.rules.secret_strength import BITS_LEAST, is_strong
from gateway.rules.user import User
from gateway.scenarios import bindings, keynames
from gateway.scenarios.access import Asker
from gateway.scenarios.context import Context
from gateway.scenarios.idempotency import Once, claim, finish, release
from gateway.scenarios.packaging import Plan, Sealing, make_package
from gateway.scenarios.recording import Origin, make_event, record
from gateway.scenarios.representation import keyset_view
from gateway.store import keysets, loose_keys, users
from gateway.store.applications import Application
from gateway.store.database import Connection
from gateway.wire.package import Package

_WEAK_LAPSE = timedelta(minutes=10)
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Given:
    """What an application gives for a delivery: a secret with ``online``, a key of the device with ``sealed``."""

    secret: str | None = None
    sealing: Sealing | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """A fresh keyset and the package that brings it to the phone; equivalent to the keys with ``qr``."""

    keyset: dict[str, Any]
    package: Package


async def issue_keyset(
    ctx: Context,
    asker: Asker,
    user_id: str,
    delivery: Delivery,
    given: Given,
    once: Once,
    origin: Origin,
) -> Issued:
    """Make new keys for the user; older open keysets of the user end with it.

    Args:
        ctx: the parts.
        asker: the application.
        user_id: whose keys.
        delivery: how they travel.
        given: what the application gave for this way.
        once: the request's idempotency key.
        origin: where the request came from.

    Raises:
        Refusal: ``not_found``, ``user_blocked``, ``user_deleted``, ``not_allowed_by_policy``, ``already_delivered``.
        BrokenBinding: a keyset of the user, or the user's state, is not what the HSM vouched for.
    """
    plan = _make_plan(ctx, asker, user_id, delivery, given)
    await ctx.unit(_plan_keys, asker, plan, once)
    try:
        package = await ctx.on_device(make_package, ctx, plan)
        keyset = await _adopt(ctx, asker, plan, package, once, origin)
    except BaseException:
        await ctx.unit(_give_up, asker, plan, once, ctx.clock.now())
        raise
    return Issued(keyset_view(keyset, None), package)


def _make_plan(ctx: Context, asker: Asker, user_id: str, delivery: Delivery, given: Given) -> Plan:
    policy = asker.application.policy
    _check_secret(delivery, given.secret, policy)
    if (delivery is Delivery.SEALED) != (given.sealing is not None):
        detail = "wrap_key and oaep belong to the delivery sealed, and only there."
        raise Refusal("malformed_request", "key and delivery do not fit", detail=detail)
    plan = new_plan(ctx, asker.application, user_id, delivery)
    return replace(plan, given_secret=given.secret, sealing=given.sealing)


def new_plan(ctx: Context, application: Application, user_id: str, delivery: Delivery) -> Plan:
    """Return a plan for new keys with new names, as the application's policy has it now."""
    policy, now = application.policy, ctx.clock.now()
    return Plan(
        application_id=application.id,
        user_id=user_id,
        keyset_id=new_id("ks", now),
        delivery=delivery,
        khmac=keynames.new_secret(ctx, policy.residency),
        kauth=keynames.new_secret(ctx, policy.residency),
        salt=secrets.token_bytes(16),
        policy=policy,
        now=now.replace(microsecond=0),
    )


def _check_secret(delivery: Delivery, given_secret: str | None, policy: Policy) -> None:
    if (delivery is Delivery.ONLINE) != (given_secret is not None):
        detail = "A secret belongs to the delivery online, and only there."
        raise Refusal("malformed_request", "secret and delivery do not fit", detail=detail)
    if given_secret is None:
        return
    if not policy.weak_secret and not is_strong(given_secret):
        detail = f"The secret needs {BITS_LEAST} random bits: 25 digits, 20 of hexadecimal, 16 of base32, 14 others."
        raise Refusal("not_allowed_by_policy", "weak secret", detail=detail)


def _plan_keys(connection: Connection, asker: Asker, plan: Plan, once: Once) -> None:
    if claim(connection, asker, once, plan.now) is not None:
        raise Refusal("already_delivered", "repeated issue")
    _open_user(connection, asker, plan)
    loose_keys.plan_keys(connection, plan.stored, plan.keyset_id, plan.now)


def _open_user(connection: Connection, asker: Asker, plan: Plan) -> User:
    user = users.find_user(connection, plan.application_id, plan.user_id)
    if user is None:
        raise Refusal("not_found", "unknown user")
    user_rules.require_open(user, asker.application.policy.failures_most)
    return user


async def _adopt(
    ctx: Context, asker: Asker, plan: Plan, package: Package, once: Once, origin: Origin
) -> Keyset:
    """Write the keyset with the HSM's MAC; begin again if the user changed meanwhile."""
    for _ in range(_TRIES):
        user, present = await ctx.reading(_user_and_keysets, asker, plan)
        fresh = new_keyset(plan, package)
        # Not the plan's whole second: an answer of that very second was given while the older keys were active.
        bound, ended = await ctx.on_device(_bind_all, ctx, fresh, user, present, ctx.clock.now())
        if await ctx.unit(_write, asker, user, plan, bound, ended, once, origin):
            return bound
    raise Refusal("concurrent_change")


def _user_and_keysets(connection: Connection, asker: Asker, plan: Plan) -> tuple[User, list[Keyset]]:
    user = _open_user(connection, asker, plan)
    return user, keysets.keysets_of(connection, plan.application_id, plan.user_id)


def new_keyset(plan: Plan, package: Package) -> Keyset:
    """Return the row of a planned keyset, without the MAC that binds it."""
    return Keyset(
        id=plan.keyset_id,
        application_id=plan.application_id,
        user_id=plan.user_id,
        status=KeysetStatus.ISSUED,
        delivery=plan.delivery,
        khmac=plan.khmac,
        kauth=plan.kauth,
        kpublic=None,
        spki=None,
        fingerprint=b"",
        device_id=None,
        step_seconds=plan.policy.step_seconds,
        digits=plan.policy.digits,
        flags=int(plan.policy.flags),
        renews=plan.renews,
        salt=plan.salt,
        package_sha256=package.digest(),
        created_at=plan.now,
        valid_until=package.valid_until,
        lapses_at=_lapse(plan),
        registered_at=None,
        ended_at=None,
        code_given_at=None,
        binding=b"",
    )


def _lapse(plan: Plan) -> datetime | None:
    """Return until when the phone must have registered; never, where the policy does without Kpublic."""
    if plan.has_weak_secret:
        return plan.now + _WEAK_LAPSE
    if plan.renews is not None:
        return plan.now + timedelta(hours=plan.policy.renew_hours)
    if not plan.policy.kpublic_required:
        return None
    return plan.now + timedelta(hours=plan.policy.register_hours)


def _bind_all(
    ctx: Context, fresh: Keyset, user: User, present: Sequence[Keyset], now: datetime
) -> tuple[Keyset, list[tuple[Keyset, Keyset]]]:
    """Bind the new keyset, and the older open ones as ended.

    The user's state is believed because the HSM vouches for it in each of the user's keysets, ended ones included.
    """
    ended = []
    for keyset in present:
        bindings.require_bound(ctx, keyset, user.status)
        if keyset.status in keyset_rules.OPEN:
            status = keyset_rules.next_status(keyset.status, KeysetAction.REPLACE)
            changed = keynames.without_spent(ctx, replace(keyset, status=status, ended_at=now), answered=True)
            ended.append((keyset, bindings.bind(ctx, changed, user.status)))
    return bindings.bind(ctx, fresh, user.status), ended


def _write(
    connection: Connection,
    asker: Asker,
    user: User,
    plan: Plan,
    fresh: Keyset,
    ended: Sequence[tuple[Keyset, Keyset]],
    once: Once,
    origin: Origin,
) -> bool:
    """Write it all in one unit; False if user or keysets changed since they were seen."""
    if not users.raise_version(connection, user):
        return False
    if not loose_keys.adopt_keys(connection, plan.stored):
        raise Refusal("concurrent_change", "the sweep was faster than the enrolment")
    keysets.insert_keyset(connection, fresh)
    ids = {"application_id": plan.application_id, "user_id": plan.user_id}
    detail = {"delivery": fresh.delivery}
    lines = [
        make_event(
            EventType.KEYSET_ISSUED, "issued", plan.now, origin, keyset_id=fresh.id, detail=detail, **ids
        )
    ]
    for seen, changed in ended:
        keysets.change_keyset(connection, seen, changed)
        loose_keys.doom_keys(connection, keynames.on_token([seen.kauth]), seen.id, plan.now)
        subject = {**ids, "keyset_id": seen.id, "reason": "replaced"}
        lines.append(make_event(EventType.KEYSET_ENDED, "deleted", plan.now, origin, **subject))
    record(connection, lines)
    finish(connection, asker, once, fresh.id, plan.now)
    return True


def _give_up(connection: Connection, asker: Asker, plan: Plan, once: Once, now: datetime) -> None:
    """Have what was planned destroyed by the next sweep, and free the idempotency key."""
    loose_keys.doom_unowned(connection, plan.stored, plan.keyset_id, now)
    release(connection, asker, once)
