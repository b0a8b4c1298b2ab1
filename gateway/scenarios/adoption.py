"""How does a new keyset take its place: bound by the HSM, written with what gives way to it, in one unit.

Nothing is written if the user or a keyset changed since they were seen, so that two who issue at once never overrun
what is allowed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gateway.refusals import Refusal
from gateway.rules import device as device_rules
from gateway.rules import user as user_rules
from gateway.rules.device import Device, DeviceStatus
from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset, KeysetAction, KeysetStatus
from gateway.rules.user import User
from gateway.scenarios import bindings
from gateway.scenarios.access import Asker
from gateway.scenarios.context import Context
from gateway.scenarios.ending import doom_spent, ended_by
from gateway.scenarios.idempotency import Once, finish
from gateway.scenarios.packaging import Plan
from gateway.scenarios.recording import Origin, make_event, record
from gateway.store import devices, keysets, loose_keys, users
from gateway.store.database import Connection
from gateway.store.events import Event
from gateway.wire.package import Package

_WEAK_LAPSE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Issue:
    """One request for new keys: who asks, what was planned, its idempotency key, and where it came from."""

    asker: Asker
    plan: Plan
    once: Once
    origin: Origin


@dataclass(frozen=True, slots=True)
class Bound:
    """What is written at the end: the new keyset, and those that give way to it (as seen, as ended)."""

    issue: Issue
    user: User
    package: Package
    fresh: Keyset
    ended: Sequence[tuple[Keyset, Keyset]]
    is_first: bool  # the user never had a keyset before


@dataclass(frozen=True, slots=True)
class _Place:
    """The device that new keys are for, and those that give way to it."""

    device: Device
    is_new: bool = False
    gone: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Seen:
    """A user who may have new keys, and every keyset it ever had, as of one moment."""

    user: User
    keysets: Sequence[Keyset]


@dataclass(frozen=True, slots=True)
class Planned:
    """One request whose keys may be made, and what that was decided on."""

    issue: Issue
    seen: Seen

    @property
    def is_first(self) -> bool:
        """Whether the user never had a keyset before."""
        return not self.seen.keysets


def gather(connection: Connection, issue: Issue) -> Seen:
    """Return the user and its keysets; refuses unless it may have new keys, for the device that is named."""
    name = (issue.plan.application_id, issue.plan.user_id)
    return look(connection, issue, users.find_user(connection, *name), keysets.keysets_of(connection, *name))


def look(connection: Connection, issue: Issue, user: User | None, present: Sequence[Keyset]) -> Seen:
    """Return the user and its keysets, both found in this unit; refuses as above."""
    plan = issue.plan
    if user is None:
        raise Refusal("not_found", "unknown user")
    user_rules.require_open(user, issue.asker.application.policy.failures_most)
    if not plan.is_new_device:
        device = devices.devices_of(connection, plan.application_id, plan.user_id).get(plan.device_id)
        if device is None or device.status is DeviceStatus.REMOVED:
            raise Refusal("not_found", "unknown or removed device", detail="The user has no such device.")
    _giving_way(issue, present, plan.now)
    return Seen(user, present)


def _giving_way(issue: Issue, present: Sequence[Keyset], now: datetime) -> list[Keyset]:
    return device_rules.giving_way(present, _named(issue.plan), _most(issue), now)


def _named(plan: Plan) -> str | None:
    return None if plan.is_new_device else plan.device_id


def _most(issue: Issue) -> int:
    return issue.asker.application.policy.devices_most


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
        device_id=plan.device_id,
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
        policy_version=plan.policy_version,
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


def bind_all(ctx: Context, planned: Planned, package: Package) -> Bound:
    """Bind the new keyset, and those that give way to it as ended.

    The user's state is believed because the HSM vouches for it in each of the user's keysets, ended ones included;
    so is what each keyset says of its device.
    """
    # Not the plan's whole second: an answer of that very second was given while the older keys were active.
    issue, now = planned.issue, ctx.clock.now()
    user, present = planned.seen.user, planned.seen.keysets
    for keyset in present:
        bindings.require_bound(ctx, keyset, user.status)
    ended = [
        (keyset, ended_by(ctx, keyset, KeysetAction.REPLACE, user.status, now))
        for keyset in _giving_way(issue, present, now)
    ]
    fresh = bindings.bind(ctx, new_keyset(issue.plan, package), user.status)
    return Bound(issue, user, package, fresh, ended, planned.is_first)


def write_all(connection: Connection, several: Sequence[Bound]) -> list[Device | None]:
    """Write it all in one unit; the device of each, or None for one alone whose user or keysets changed.

    Raises:
        Refusal: ``concurrent_change``: one of several changed, so each is to be written alone, or the sweep was faster.
    """
    if not users.raise_versions(connection, [each.user for each in several]):
        if len(several) > 1:
            raise Refusal("concurrent_change", "one of several users changed")
        return [None]
    if not loose_keys.adopt_keys(connection, [key for each in several for key in each.issue.plan.stored]):
        raise Refusal("concurrent_change", "the sweep was faster than the enrolment")
    places = [_place(connection, each) for each in several]
    devices.insert_devices(connection, [place.device for place in places if place.is_new])
    keysets.insert_keysets(connection, [each.fresh for each in several])
    record(
        connection,
        [line for each, place in zip(several, places, strict=True) for line in _end(connection, each, place)],
    )
    for each in several:
        finish(connection, each.issue.asker, each.issue.once, each.fresh.id, each.issue.plan.now)
    return [place.device for place in places]


def _end(connection: Connection, bound: Bound, place: _Place) -> list[Event]:
    """End what gives way, and return the lines that tell of it and of the new keyset."""
    issue, plan, fresh = bound.issue, bound.issue.plan, bound.fresh
    made = {"delivery": fresh.delivery, "device_id": plan.device_id, "policy_version": plan.policy_version}
    lines = [_event(issue, EventType.KEYSET_ISSUED, "issued", fresh.id, made)]
    for seen, changed in bound.ended:
        keysets.change_keyset(connection, seen, changed)
        doom_spent(connection, changed, plan.now)
        lines.append(_event(issue, EventType.KEYSET_ENDED, "deleted", seen.id, {}, "replaced"))
    for device_id in sorted(place.gone):
        detail = {"device_id": device_id}
        lines.append(_event(issue, EventType.DEVICE_REMOVED, "removed", None, detail, "replaced"))
    return lines


def _place(connection: Connection, bound: Bound) -> _Place:
    """Return the device of the new keyset; a user without keysets never had one."""
    plan = bound.issue.plan
    others = {} if bound.is_first else devices.devices_of(connection, plan.application_id, plan.user_id)
    if not plan.is_new_device:
        return _Place(others[plan.device_id])
    gone: set[str] = set()
    if device_rules.replaces_all(_named(plan), _most(bound.issue)):
        gone = devices.remove_devices(connection, others, plan.now)
    made = Device(
        id=plan.device_id,
        application_id=plan.application_id,
        user_id=plan.user_id,
        push_provider=None,
        push_id=None,
        created_at=plan.now,
    )
    return _Place(made, is_new=True, gone=frozenset(gone))


def _event(
    issue: Issue,
    type_: EventType,
    result: str,
    keyset_id: str | None,
    detail: dict[str, Any],
    reason: str | None = None,
) -> Event:
    plan = issue.plan
    return make_event(
        type_,
        result,
        plan.now,
        issue.origin,
        reason=reason,
        application_id=plan.application_id,
        user_id=plan.user_id,
        keyset_id=keyset_id,
        detail=detail,
    )
