"""Is this request really from the phone that holds the keys: the checks of the specification, in their order.

Whatever fails, the answer and the work are the same; only the event log learns the reason.
"""

import hmac
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from gateway.refusals import Refusal
from gateway.rules import keyset as keyset_rules
from gateway.rules import user as user_rules
from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset, KeysetStatus
from gateway.rules.policy import Policy
from gateway.rules.user import User
from gateway.rules.user_settings import policy_for
from gateway.scenarios import bindings, keynames
from gateway.scenarios.context import Context
from gateway.scenarios.recording import Origin, make_event, record
from gateway.store import applications, keysets
from gateway.store.applications import Application
from gateway.store.database import Connection
from gateway.wire.authcode import answer_input
from gateway.wire.request import Envelope
from hsm.errors import DeviceRefused, DuplicateKey, InvalidUri, KeyMissing

REGISTER = "keys.register"
_UNPROVED_BYTES = 512  # all that the policy can ask for fits


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRequest:
    """A request as it came in: raw body, the envelope in it, and the code of its header (None: no valid one)."""

    raw: bytes
    envelope: Envelope
    authcode: bytes | None
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """An authenticated phone: who it is, with which keys, and what it asked."""

    application: Application
    user: User
    keyset: Keyset
    authcode: bytes
    envelope: Envelope
    origin: Origin
    now: datetime

    @property
    def policy(self) -> Policy:
        """The application's policy, as it is for this user."""
        return policy_for(self.application.policy, self.user.settings)

    @property
    def subject(self) -> dict[str, str]:
        """The ids that an event about its request carries."""
        return {
            "application_id": self.application.id,
            "user_id": self.user.user_id,
            "keyset_id": self.keyset.id,
        }

    def require_allowed_unlocking(self) -> None:
        """Refuse if the keys were unlocked by a finger or a face where the password is required; the phone says so."""
        if self.envelope.device.get("uv") == "biometric" and self.policy.forbid_biometrics:
            detail = "The policy forbids biometrics: unlock the keys with the password."
            raise Refusal("not_allowed_by_policy", "keys unlocked by biometrics", detail=detail)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database knows of who seems to ask, all of one moment."""

    keyset: Keyset
    user: User
    application: Application


@dataclass(frozen=True, slots=True)
class Seen:
    """What the device said: whether it vouches for the row, whether the code is right, and why it could not say."""

    bound: bool
    matches: bool
    trouble: str | None = None


async def authenticate(ctx: Context, request: ClientRequest) -> Caller:
    """Return who sent the request.

    Whether it is a repeat is decided later, in the unit of its effect (``recording.use_request``).

    Raises:
        Refusal: ``authentication_failed``, after the reason was recorded.
        hsm.errors.DeviceUnavailable: the HSM is away; nothing was decided.
    """
    now = ctx.clock.now()
    facts = await ctx.reading(_gather, request.envelope.keyset)
    seen = await ctx.on_device(prove, ctx, facts, request)
    caller, why = judge(facts, seen, request, now)
    if caller is not None:
        return caller
    await ctx.unit(_record_failure, facts, seen, request, now, why)
    raise Refusal("authentication_failed", why or "", recorded=True)


def _gather(connection: Connection, keyset_id: str) -> Facts | None:
    found = keysets.find_with_users(connection, [keyset_id]).get(keyset_id)
    if found is None:
        return None
    keyset, user = found
    application = applications.find_application(connection, keyset.application_id)
    return None if application is None else Facts(keyset, user, application)


def prove(ctx: Context, facts: Facts | None, request: ClientRequest) -> Seen:
    """Check binding and code on the device; an unknown keyset costs the same with a decoy key."""
    presented = request.authcode or bytes(32)
    if facts is None:
        ctx.device.mac(ctx.keys.binding.current[1], bindings.NO_BINDING)
        return _decoy(ctx, request, presented, bound=True)
    row = facts.keyset, facts.user.status
    remembered = bindings.is_remembered(ctx, *row)
    bound = remembered or bindings.is_bound(ctx, *row)
    seen = _compare(ctx, facts.keyset, request, presented, bound=bound)
    if seen.matches:
        ctx.vouched.remember(*row)
    elif remembered:  # a wrong code costs as much as an unknown keyset, whether its row is remembered or not
        ctx.device.mac(ctx.keys.binding.current[1], bindings.NO_BINDING)
    return seen


def _compare(ctx: Context, keyset: Keyset, request: ClientRequest, presented: bytes, *, bound: bool) -> Seen:
    if not bound or keyset.status not in keyset_rules.OPEN:  # the Kauth of an ended keyset is destroyed
        return _decoy(ctx, request, presented, bound=bound)
    try:
        mac = ctx.device.mac(keynames.kauth_of(keyset), request.raw)
    except (KeyMissing, DeviceRefused, DuplicateKey, InvalidUri) as error:
        why = f"the token does not compute with this keyset's key: {type(error).__name__}"
        return replace(_decoy(ctx, request, presented, bound=True), trouble=why)
    return Seen(bound=True, matches=hmac.compare_digest(mac, presented))


def _decoy(ctx: Context, request: ClientRequest, presented: bytes, *, bound: bool) -> Seen:
    mac = ctx.device.mac(ctx.keys.decoy, request.raw)
    hmac.compare_digest(mac, presented)
    return Seen(bound=bound, matches=False)


def judge(
    facts: Facts | None, seen: Seen, request: ClientRequest, now: datetime
) -> tuple[Caller | None, str | None]:
    """Return who asks, or why it is not to be believed."""
    why = _why_not(facts, seen, request, now)
    if why is not None or facts is None or request.authcode is None:
        return None, why
    caller = Caller(
        application=facts.application,
        user=facts.user,
        keyset=facts.keyset,
        authcode=request.authcode,
        envelope=request.envelope,
        origin=request.origin,
        now=now,
    )
    return caller, None


def _why_not(  # noqa: PLR0911 - one return for each check, in their order
    facts: Facts | None, seen: Seen, request: ClientRequest, now: datetime
) -> str | None:
    """Return the first check that fails, in the order of the specification; None if all hold."""
    if facts is None:
        return "unknown keyset"
    if not seen.bound:
        return "keyset row is not the one the HSM vouched for"
    policy = facts.application.policy
    try:
        user_rules.require_open(facts.user, policy.failures_most)
    except Refusal as refusal:
        return refusal.reason
    why = keyset_rules.why_unusable(
        facts.keyset,
        now,
        registering=request.envelope.action == REGISTER,
        kpublic_required=policy.kpublic_required,
    )
    if why is not None:
        return why
    if request.authcode is None:
        return "no valid PC-Authorization header"
    if not seen.matches:
        return seen.trouble or "wrong authentication code"
    if abs((request.envelope.time - now).total_seconds()) > policy.request_window_seconds:
        return "time of the request is out of the window"
    return None


def _record_failure(
    connection: Connection,
    facts: Facts | None,
    seen: Seen,
    request: ClientRequest,
    now: datetime,
    why: str | None,
) -> None:
    device = request.envelope.device if seen.matches else kept_unproved(request.envelope.device)
    subject: dict[str, Any] = {"detail": {"device": device}}
    if facts is not None:
        subject |= _subject(facts)
    lines = [
        make_event(EventType.AUTHENTICATION_FAILED, "refused", now, request.origin, reason=why, **subject)
    ]
    if not seen.bound:
        lines.append(make_event(EventType.BINDING_BROKEN, "alarm", now, request.origin, **subject))
    record(connection, lines)


def kept_unproved(device: dict[str, object]) -> dict[str, object]:
    """Return the members of device data that have room in a log that keeps for ever what anybody sends."""
    kept: dict[str, object] = {}
    for name, value in device.items():
        if len(orjson.dumps(kept | {name: value})) <= _UNPROVED_BYTES:
            kept[name] = value
    return kept


def _subject(facts: Facts) -> dict[str, str]:
    return {
        "application_id": facts.application.id,
        "user_id": facts.user.user_id,
        "keyset_id": facts.keyset.id,
    }


def require_unchanged(connection: Connection, caller: Caller, user: User | None, now: datetime) -> None:
    """Refuse, like any failed authentication, when user or keyset have ended since the request was authenticated.

    Args:
        connection: the open unit.
        caller: who was authenticated.
        user: the user's row as the unit sees it, locked where something is decided.
        now: the moment of the decision.
    """
    keyset = keysets.find_keyset(connection, caller.keyset.id)
    if user is None or keyset is None:
        raise Refusal("authentication_failed", "the keyset is gone")
    policy = caller.application.policy
    why = keyset_rules.why_unusable(keyset, now, registering=False, kpublic_required=policy.kpublic_required)
    if why is None and keyset.status is KeysetStatus.ISSUED and caller.keyset.status is KeysetStatus.ACTIVE:
        why = "the keyset changed"
    if why is not None:
        raise Refusal("authentication_failed", f"{why}, since the request came")
    try:
        user_rules.require_open(user, policy.failures_most)
    except Refusal as refusal:
        raise Refusal("authentication_failed", refusal.reason) from None


def record_ended(connection: Connection, caller: Caller, now: datetime, reason: str) -> None:
    """Record that an authenticated request is refused as if it had never been."""
    event = make_event(
        EventType.AUTHENTICATION_FAILED,
        "refused",
        now,
        caller.origin,
        reason=reason,
        **caller.subject,
    )
    record(connection, [event])


async def prove_answer(ctx: Context, caller: Caller, status: int, content_type: str, body: bytes) -> bytes:
    """Return the gateway's own proof over an answer: 32 bytes, made with the caller's Kauth in the HSM."""
    return await ctx.on_device(answer_proof, ctx, caller, status, content_type, body)


def answer_proof(ctx: Context, caller: Caller, status: int, content_type: str, body: bytes) -> bytes:
    """Return the same, here and now. Talks to the device."""
    over = answer_input(caller.authcode, status, content_type, body)
    return ctx.device.mac(keynames.kauth_of(caller.keyset), over)
