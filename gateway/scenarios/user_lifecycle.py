"""What happens to a user: created, blocked, unblocked, deleted, each with all its consequences.

The user's state is inside the MAC of each of its keysets, so every change binds them anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from gateway.refusals import Outage, Refusal
from gateway.rules import keyset as keyset_rules
from gateway.rules import user as rules
from gateway.rules.callback import CallbackType
from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset, KeysetAction
from gateway.rules.transaction import CancelReason, TransactionAction
from gateway.rules.user import User, UserAction, UserStatus
from gateway.scenarios import bindings, settling
from gateway.scenarios.context import Context
from gateway.scenarios.deliveries import enqueue
from gateway.scenarios.ending import doom_spent, ended_by
from gateway.scenarios.recording import SYSTEM, Origin, make_event, record
from gateway.scenarios.representation import keyset_view, user_view
from gateway.store import applications, devices, keysets, transactions, users
from gateway.store.applications import Application
from gateway.store.database import Connection
from hsm.errors import DeviceError

_TRIES = 8
_BATCH = 100
_log = structlog.get_logger("gateway")
_EVENTS = {
    UserAction.BLOCK: EventType.USER_BLOCKED,
    UserAction.UNBLOCK: EventType.USER_UNBLOCKED,
    UserAction.DELETE: EventType.USER_DELETED,
}
TOO_MANY_FAILURES = "too_many_failures"


@dataclass(frozen=True, slots=True)
class _Change:
    """One change of a user on its way into the store."""

    seen: User
    status: UserStatus
    reason: str | None
    action: UserAction
    rebound: Sequence[tuple[Keyset, Keyset]]
    broken: Sequence[Keyset]
    now: datetime


async def create_user(
    ctx: Context, application: Application, user_id: str, origin: Origin
) -> tuple[dict[str, Any], bool]:
    """Create the user, or return the one that is there; True when it is new.

    Raises:
        Refusal: ``user_deleted``, for an id once deleted is never used again.
    """
    user = User(
        application_id=application.id,
        user_id=user_id,
        status=UserStatus.ACTIVE,
        reason=None,
        failures=0,
        version=1,
        created_at=ctx.clock.now(),
    )
    return await ctx.unit(_create, application, user, origin)


def _create(
    connection: Connection, application: Application, user: User, origin: Origin
) -> tuple[dict[str, Any], bool]:
    new = users.insert_user(connection, user)
    if new:
        record(connection, [_event(EventType.USER_CREATED, "created", user, user.created_at, origin)])
    present = _load(connection, application, user.user_id)
    if present.status is UserStatus.DELETED:
        raise Refusal("user_deleted")
    return _view(connection, application, present), new


async def fetch_user(ctx: Context, application: Application, user_id: str) -> dict[str, Any]:
    """Return the user with its keysets and devices."""
    return await ctx.reading(_fetch, application, user_id)


def _fetch(connection: Connection, application: Application, user_id: str) -> dict[str, Any]:
    return _view(connection, application, _load(connection, application, user_id))


def _load(connection: Connection, application: Application, user_id: str) -> User:
    user = users.find_user(connection, application.id, user_id)
    if user is None:
        raise Refusal("not_found", "unknown user")
    return user


def _view(connection: Connection, application: Application, user: User) -> dict[str, Any]:
    theirs = devices.devices_of(connection, application.id, user.user_id)
    found = keysets.keysets_of(connection, application.id, user.user_id)
    return user_view(user, [keyset_view(k, theirs.get(k.device_id or "")) for k in found])


async def change_user(
    ctx: Context,
    application: Application,
    user_id: str,
    action: UserAction,
    reason: str | None,
    origin: Origin,
) -> dict[str, Any]:
    """Block, unblock or delete the user and return it.

    Raises:
        Refusal: ``not_found``, ``user_deleted``, ``concurrent_change``.
        BrokenBinding: on unblocking, a keyset of the user or its state is not what the HSM vouched for.
    """
    for _ in range(_TRIES):
        seen, present = await ctx.reading(_gather, application, user_id)
        if rules.next_status(seen.status, action) is seen.status and seen.failures == 0:
            return await fetch_user(ctx, application, user_id)
        change = await ctx.on_device(_prepare, ctx, seen, present, action, reason)
        if await ctx.unit(_settle, application, change, origin):
            return await fetch_user(ctx, application, user_id)
    raise Refusal("concurrent_change")


async def block_after_failures(ctx: Context, application: Application, user_id: str, origin: Origin) -> None:
    """Block a user who failed too often. The counter alone stops it already; this makes the state say so.

    It is the second step of a refusal that is committed: if it cannot be taken now, ``block_overdue`` takes it.
    """
    try:
        await change_user(ctx, application, user_id, UserAction.BLOCK, TOO_MANY_FAILURES, origin)
    except (Outage, DeviceError) as error:
        _log.warning("a block waits", user=user_id, why=str(error))


async def block_overdue(ctx: Context) -> int:
    """Block the users who failed too often and are not blocked yet; return how many.

    Their process was killed between counting and blocking, or the policy was made stricter meanwhile.

    Raises:
        hsm.errors.DeviceError, Outage: HSM or database are away; the next round begins anew.
    """
    blocked = 0
    for application, user in await ctx.reading(_overdue):
        try:
            await change_user(ctx, application, user.user_id, UserAction.BLOCK, TOO_MANY_FAILURES, SYSTEM)
        except Refusal as refusal:  # it changes all the time, or is deleted: the next round looks again
            _log.warning("a block waits", user=user.user_id, why=refusal.reason)
            continue
        blocked += 1
    return blocked


def _overdue(connection: Connection) -> list[tuple[Application, User]]:
    """Return some of each application: whoever failed in one holds up nobody of another."""
    found = []
    for application_id in users.failing_applications(connection):
        try:
            application = applications.find_application(connection, application_id)
        except Refusal as refusal:
            _log.error("a policy cannot be read", application=application_id, why=refusal.reason)
            continue
        assert application is not None
        theirs = users.failing_users(connection, application_id, application.policy.failures_most, _BATCH)
        found += [(application, user) for user in theirs]
    return found


def _gather(connection: Connection, application: Application, user_id: str) -> tuple[User, list[Keyset]]:
    user = _load(connection, application, user_id)
    return user, keysets.keysets_of(connection, application.id, user_id)


def _prepare(
    ctx: Context, seen: User, present: Sequence[Keyset], action: UserAction, reason: str | None
) -> _Change:
    """Decide the new state and bind the keysets to it; a row the HSM did not vouch for is left broken.

    It does not keep a user from being blocked or deleted, but from getting rights back.
    """
    now = ctx.clock.now()
    status = rules.next_status(seen.status, action)
    rebound, broken = [], []
    for keyset in present:
        if action is UserAction.UNBLOCK:
            bindings.require_bound(ctx, keyset, seen.status)
        elif not bindings.is_bound(ctx, keyset, seen.status):
            broken.append(keyset)
            continue
        if action is UserAction.DELETE and keyset.status in keyset_rules.OPEN:
            changed = ended_by(ctx, keyset, KeysetAction.REPLACE, status, now)
        else:
            changed = bindings.bind(ctx, keyset, status)
        rebound.append((keyset, changed))
    return _Change(seen, status, reason, action, rebound, broken, now)


def _settle(connection: Connection, application: Application, change: _Change, origin: Origin) -> bool:
    """Write the change in one unit; False if the user or a keyset changed since it was seen."""
    reason = None if change.status is UserStatus.ACTIVE else change.reason
    if not users.change_user(connection, change.seen, status=change.status, reason=reason):
        return False
    lines = [_event(_EVENTS[change.action], change.status, change.seen, change.now, origin, change.reason)]
    for seen, changed in change.rebound:
        keysets.change_keyset(connection, seen, changed)
        if changed.status is not seen.status:
            doom_spent(connection, changed, change.now)
    lines += [bindings.alarm(keyset, change.now, origin) for keyset in change.broken]
    record(connection, lines)
    if change.action is UserAction.DELETE:
        _cancel_pending(connection, application, change, origin)
        theirs = devices.devices_of(connection, application.id, change.seen.user_id)
        devices.remove_devices(connection, theirs, change.now)
    if change.status is not change.seen.status:
        data = {"user": change.seen.user_id, "status": change.status, "reason": reason}
        name = {UserStatus.ACTIVE: "unblocked"}.get(change.status, str(change.status))
        enqueue(connection, application, CallbackType(f"user.{name}"), data, change.now)
    return True


def _cancel_pending(
    connection: Connection, application: Application, change: _Change, origin: Origin
) -> None:
    for transaction in transactions.all_pending(connection, application.id, change.seen.user_id):
        settling.cancel(
            connection,
            application,
            transaction.id,
            TransactionAction.CANCEL,
            CancelReason.USER_DELETED,
            origin,
            change.now,
        )


def _event(
    type_: EventType, result: str, user: User, now: datetime, origin: Origin, reason: str | None = None
) -> Any:
    return make_event(
        type_,
        result,
        now,
        origin,
        reason=reason,
        application_id=user.application_id,
        user_id=user.user_id,
    )
