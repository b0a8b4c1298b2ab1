"""How does a user get keys: made and wrapped in the HSM, packed for the phone, delivered once.

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
from gateway.rules.user import User
from gateway.scenarios import bindings
from gateway.scenarios.access import Asker
from gateway.scenarios.context import Context
from gateway.scenarios.idempotency import Once, claim, finish, release
from gateway.scenarios.recording import Origin, make_event, record
from gateway.scenarios.representation import keyset_view
from gateway.store import keysets, loose_keys, users
from gateway.store.database import Connection
from gateway.wire import secret as secrets_wire
from gateway.wire import tlv
from gateway.wire.package import Package
from gateway.wire.policy import DeviceFields, Flags, PackagePolicy, PasswordClasses
from gateway.wire.wrapping import SecretWrapping
from hsm.keys import KeyKind, KeyRef

LABEL = "countersign-user-hmac"
_SECRET_LEAST = 16  # symbols of an online secret that the application vouches to be random
_CHOSEN_LEAST = 4
_WEAK_LAPSE = timedelta(minutes=10)
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Issued:
    """A fresh keyset and the package that brings it to the phone; equivalent to the keys with ``qr``."""

    keyset: dict[str, Any]
    package: Package


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is about to be made: ids and values that are fixed before the device is asked."""

    keyset_id: str
    delivery: Delivery
    khmac: KeyRef
    kauth: KeyRef
    salt: bytes
    given_secret: str | None
    policy: Policy
    now: datetime

    @property
    def uris(self) -> tuple[str, str]:
        return self.khmac.uri(), self.kauth.uri()


async def issue_keyset(
    ctx: Context,
    asker: Asker,
    user_id: str,
    delivery: Delivery,
    given_secret: str | None,
    once: Once,
    origin: Origin,
) -> Issued:
    """Make new keys for the user; older open keysets of the user end with it.

    Args:
        ctx: the parts.
        asker: the application.
        user_id: whose keys.
        delivery: how they travel.
        given_secret: with ``online``: the secret the application shares with its app.
        once: the request's idempotency key.
        origin: where the request came from.

    Raises:
        Refusal: ``not_found``, ``user_blocked``, ``user_deleted``, ``not_allowed_by_policy``, ``already_delivered``.
    """
    plan = _make_plan(ctx, asker, delivery, given_secret)
    await ctx.unit(_plan_keys, asker, user_id, plan, once)
    try:
        package = await ctx.on_device(_make_keys, ctx, asker, user_id, plan)
        keyset = await _adopt(ctx, asker, user_id, plan, package, once, origin)
    except BaseException:
        await ctx.unit(_give_up, asker, plan, once, ctx.clock.now())
        raise
    return Issued(keyset_view(keyset, None), package)


def _make_plan(ctx: Context, asker: Asker, delivery: Delivery, given_secret: str | None) -> _Plan:
    policy = asker.application.policy
    _check_secret(delivery, given_secret, policy)
    now = ctx.clock.now().replace(microsecond=0)
    return _Plan(
        keyset_id=new_id("ks", ctx.clock.now()),
        delivery=delivery,
        khmac=KeyRef(KeyKind.SECRET, secrets.token_bytes(16)),
        kauth=KeyRef(KeyKind.SECRET, secrets.token_bytes(16)),
        salt=secrets.token_bytes(16),
        given_secret=given_secret,
        policy=policy,
        now=now,
    )


def _check_secret(delivery: Delivery, given_secret: str | None, policy: Policy) -> None:
    if (delivery is Delivery.ONLINE) != (given_secret is not None):
        detail = "A secret belongs to the delivery online, and only there."
        raise Refusal("malformed_request", "secret and delivery do not fit", detail=detail)
    if given_secret is None:
        return
    least = _CHOSEN_LEAST if policy.weak_secret else _SECRET_LEAST
    if len(given_secret) < least:
        detail = f"The secret needs at least {least} characters, from a random source of 80 bits or more."
        raise Refusal("not_allowed_by_policy", "short secret", detail=detail)


def _is_weak(plan: _Plan) -> bool:
    return plan.given_secret is not None and len(plan.given_secret) < _SECRET_LEAST


def _plan_keys(connection: Connection, asker: Asker, user_id: str, plan: _Plan, once: Once) -> None:
    if claim(connection, asker, once, plan.now) is not None:
        raise Refusal("already_delivered", "repeated issue")
    user = users.find_user(connection, asker.application.id, user_id)
    if user is None:
        raise Refusal("not_found", "unknown user")
    user_rules.require_open(user, asker.application.policy.failures_most)
    loose_keys.plan_keys(connection, plan.uris, plan.keyset_id, plan.now)


def _make_keys(ctx: Context, asker: Asker, user_id: str, plan: _Plan) -> Package:
    """Let the HSM make, wrap and keep the keys; the wrapping secret lives for this call only."""
    secret = _wrapping_secret(ctx, asker, plan)
    iterations = secrets_wire.CHOSEN_ITERATIONS if _is_weak(plan) else secrets_wire.RANDOM_ITERATIONS
    kek = secrets_wire.kek(secret, plan.salt, iterations)
    khmac, kauth = ctx.device.issue(kek, [plan.khmac.id, plan.kauth.id], LABEL)
    return Package(
        issuer=ctx.issuer,
        application=asker.application.id,
        user=user_id,
        keyset=plan.keyset_id,
        url=ctx.client_url,
        valid_until=plan.now + timedelta(days=plan.policy.validity_days),
        policy=package_policy(plan.policy),
        wrapping=SecretWrapping(salt=plan.salt, iterations=iterations),
        khmac=khmac,
        kauth=kauth,
        secret=secret if plan.delivery is Delivery.QR else None,
        door_pin=ctx.door_pin,
    )


def _wrapping_secret(ctx: Context, asker: Asker, plan: _Plan) -> str:
    if plan.delivery is Delivery.QR:
        return secrets_wire.new_package_secret(ctx.device.random(16))
    if plan.delivery is Delivery.QR_AND_CODE:
        return activation_code(ctx, asker.application.id, plan.keyset_id, plan.salt)
    assert plan.given_secret is not None
    return plan.given_secret


def activation_code(ctx: Context, application_id: str, keyset_id: str, salt: bytes) -> str:
    """Return the code of 16 symbols: computed in the HSM whenever it is needed, so it is stored nowhere."""
    context = tlv.sequence([(0x80, application_id.encode()), (0x81, keyset_id.encode()), (0x82, salt)])
    return secrets_wire.new_code(ctx.device.mac(ctx.keys.activation, context)[:10])


def package_policy(policy: Policy) -> PackagePolicy:
    """Return what a phone is told of the policy."""
    return PackagePolicy(
        flags=Flags(int(policy.flags)),
        password_length=policy.password_length,
        password_classes=PasswordClasses(policy.password_classes),
        step_seconds=policy.step_seconds,
        digits=policy.digits,
        device_fields=DeviceFields(policy.device_fields),
    )


async def _adopt(
    ctx: Context, asker: Asker, user_id: str, plan: _Plan, package: Package, once: Once, origin: Origin
) -> Keyset:
    """Write the keyset with the HSM's MAC; begin again if the user changed meanwhile."""
    for _ in range(_TRIES):
        user, present = await ctx.reading(_user_and_keysets, asker, user_id)
        fresh = _new_keyset(asker, user_id, plan, package)
        bound, ended = await ctx.on_device(_bind_all, ctx, fresh, user, present, plan.now)
        if await ctx.unit(_write, asker, user, plan, bound, ended, once, origin):
            return bound
    raise Refusal("concurrent_change")


def _user_and_keysets(connection: Connection, asker: Asker, user_id: str) -> tuple[User, list[Keyset]]:
    user = users.find_user(connection, asker.application.id, user_id)
    if user is None:
        raise Refusal("not_found", "unknown user")
    user_rules.require_open(user, asker.application.policy.failures_most)
    return user, keysets.keysets_of(connection, asker.application.id, user_id)


def _new_keyset(asker: Asker, user_id: str, plan: _Plan, package: Package) -> Keyset:
    lapse: timedelta | None = timedelta(hours=plan.policy.register_hours)
    if _is_weak(plan):
        lapse = _WEAK_LAPSE
    elif not plan.policy.kpublic_required:
        lapse = None
    return Keyset(
        id=plan.keyset_id,
        application_id=asker.application.id,
        user_id=user_id,
        status=KeysetStatus.ISSUED,
        delivery=plan.delivery,
        khmac=plan.khmac.uri(),
        kauth=plan.kauth.uri(),
        kpublic=None,
        spki=None,
        fingerprint=b"",
        device_id=None,
        step_seconds=plan.policy.step_seconds,
        digits=plan.policy.digits,
        flags=int(plan.policy.flags),
        salt=plan.salt,
        package_sha256=package.digest(),
        created_at=plan.now,
        valid_until=package.valid_until,
        lapses_at=None if lapse is None else plan.now + lapse,
        registered_at=None,
        ended_at=None,
        code_given_at=None,
        binding=b"",
    )


def _bind_all(
    ctx: Context, fresh: Keyset, user: User, present: Sequence[Keyset], now: datetime
) -> tuple[Keyset, list[tuple[Keyset, Keyset]]]:
    """Bind the new keyset, and the older open ones as ended. A row the HSM did not vouch for stays as it is."""
    ended = []
    for keyset in present:
        if keyset.status in keyset_rules.OPEN and bindings.is_bound(ctx, keyset, user.status):
            status = keyset_rules.next_status(keyset.status, KeysetAction.REPLACE)
            changed = replace(keyset, status=status, ended_at=now)
            ended.append((keyset, bindings.bind(ctx, changed, user.status)))
    return bindings.bind(ctx, fresh, user.status), ended


def _write(
    connection: Connection,
    asker: Asker,
    user: User,
    plan: _Plan,
    fresh: Keyset,
    ended: Sequence[tuple[Keyset, Keyset]],
    once: Once,
    origin: Origin,
) -> bool:
    if not users.raise_version(connection, user):
        return False
    if not loose_keys.adopt_keys(connection, plan.uris):
        raise Refusal("concurrent_change", "the sweep was faster than the enrolment")
    keysets.insert_keyset(connection, fresh)
    ids = {"application_id": asker.application.id, "user_id": user.user_id}
    lines = [
        make_event(
            EventType.KEYSET_ISSUED,
            "issued",
            plan.now,
            origin,
            keyset_id=fresh.id,
            detail={"delivery": fresh.delivery},
            **ids,
        )
    ]
    for seen, changed in ended:
        keysets.change_keyset(connection, seen, changed)
        loose_keys.doom_keys(connection, [seen.kauth], seen.id, plan.now)
        lines.append(
            make_event(
                EventType.KEYSET_ENDED,
                "deleted",
                plan.now,
                origin,
                reason="replaced",
                keyset_id=seen.id,
                **ids,
            )
        )
    record(connection, lines)
    finish(connection, asker, once, fresh.id)
    return True


def _give_up(connection: Connection, asker: Asker, plan: _Plan, once: Once, now: datetime) -> None:
    """Have what was planned destroyed by the next sweep, and free the idempotency key."""
    loose_keys.doom_planned(connection, plan.uris, now)
    release(connection, asker, once)


async def give_activation_code(
    ctx: Context, asker: Asker, user_id: str, keyset_id: str, origin: Origin
) -> str:
    """Return the activation code in groups of four, once.

    Raises:
        Refusal: ``not_found``, ``keyset_not_open``, ``already_delivered``.
    """
    now = ctx.clock.now()
    keyset, user = await ctx.reading(_find_issued, asker, user_id, keyset_id)
    if keyset.lapses_at is not None and keyset.lapses_at <= now:
        raise Refusal("keyset_not_open", "the keyset has lapsed")
    code = await ctx.on_device(_bound_code, ctx, keyset, user)
    await ctx.unit(_mark_given, keyset, origin, now)
    return secrets_wire.group(code)


def _find_issued(connection: Connection, asker: Asker, user_id: str, keyset_id: str) -> tuple[Keyset, User]:
    keyset = keysets.find_keyset(connection, keyset_id)
    if keyset is None or (keyset.application_id, keyset.user_id) != (asker.application.id, user_id):
        raise Refusal("not_found", "unknown keyset")
    user = users.find_user(connection, keyset.application_id, keyset.user_id)
    assert user is not None
    user_rules.require_open(user, asker.application.policy.failures_most)
    if keyset.status is not KeysetStatus.ISSUED or keyset.delivery is not Delivery.QR_AND_CODE:
        raise Refusal("keyset_not_open", f"{keyset.delivery} keyset is {keyset.status}")
    return keyset, user


def _bound_code(ctx: Context, keyset: Keyset, user: User) -> str:
    if not bindings.is_bound(ctx, keyset, user.status):
        raise Refusal("integrity_failure", "keyset row is not the one the HSM vouched for")
    return activation_code(ctx, keyset.application_id, keyset.id, keyset.salt)


def _mark_given(connection: Connection, keyset: Keyset, origin: Origin, now: datetime) -> None:
    if not keysets.mark_code_given(connection, keyset.id, now):
        raise Refusal("already_delivered", "activation code")
    event = make_event(
        EventType.KEYSET_CODE_GIVEN,
        "given",
        now,
        origin,
        application_id=keyset.application_id,
        user_id=keyset.user_id,
        keyset_id=keyset.id,
    )
    record(connection, [event])
