"""Which devices does a user have, and how is one taken away alone?

Removing one ends its keys and nothing else: the user's other devices go on. It takes rights away and gives none, so a
blocked user's device can be removed as well: a stolen phone goes before the user is unblocked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.refusals import Refusal
from gateway.rules import device as rules
from gateway.rules import keyset as keyset_rules
from gateway.rules.callback import CallbackType
from gateway.rules.device import Device, DeviceAction, DeviceStatus
from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset, KeysetAction
from gateway.rules.user import User
from gateway.scenarios import bindings
from gateway.scenarios.context import Context
from gateway.scenarios.deliveries import enqueue
from gateway.scenarios.ending import doom_spent, ended_by
from gateway.scenarios.recording import Origin, make_event, record
from gateway.scenarios.representation import device_view
from gateway.store import devices, keysets, users
from gateway.store.applications import Application
from gateway.store.database import Connection
from gateway.store.events import Event

_TRIES = 8


@dataclass(frozen=True, slots=True)
class _Seen:
    """A device with its user and all keysets of the user, as of one moment."""

    user: User
    device: Device
    keysets: Sequence[Keyset]


@dataclass(frozen=True, slots=True)
class _Removal:
    """One removal on its way into the store: the keysets that end with it, as seen and as ended."""

    seen: _Seen
    status: DeviceStatus
    ended: Sequence[tuple[Keyset, Keyset]]
    now: datetime


async def list_devices(ctx: Context, application: Application, user_id: str) -> list[dict[str, Any]]:
    """Return every device the user ever had, oldest first. Raises Refusal ``not_found``."""
    return await ctx.reading(_list, application, user_id)


def _list(connection: Connection, application: Application, user_id: str) -> list[dict[str, Any]]:
    if users.find_user(connection, application.id, user_id) is None:
        raise Refusal("not_found", "unknown user")
    theirs = devices.devices_of(connection, application.id, user_id)
    found = keysets.keysets_of(connection, application.id, user_id)
    return [device_view(each, found) for each in theirs.values()]


async def fetch_device(
    ctx: Context, application: Application, user_id: str, device_id: str
) -> dict[str, Any]:
    """Return one device of the user. Raises Refusal ``not_found``."""
    seen = await ctx.reading(_gather, application, user_id, device_id)
    return device_view(seen.device, seen.keysets)


async def remove_device(
    ctx: Context, application: Application, user_id: str, device_id: str, origin: Origin
) -> dict[str, Any]:
    """Remove a device: its keys end and only verify, nobody wakes it; a repeat changes nothing.

    Raises:
        Refusal: ``not_found``, ``concurrent_change``.
        BrokenBinding: a keyset of the user is not what the HSM vouched for: it might belong to this device, and
            would come back with its row.
    """
    for _ in range(_TRIES):
        seen = await ctx.reading(_gather, application, user_id, device_id)
        if seen.device.status is DeviceStatus.REMOVED:
            return device_view(seen.device, seen.keysets)
        removal = await ctx.on_device(_prepare, ctx, seen)
        if await ctx.unit(_settle, application, removal, origin):
            return await fetch_device(ctx, application, user_id, device_id)
    raise Refusal("concurrent_change")


def _gather(connection: Connection, application: Application, user_id: str, device_id: str) -> _Seen:
    user = users.find_user(connection, application.id, user_id)
    device = devices.devices_of(connection, application.id, user_id).get(device_id)
    if user is None or device is None:
        raise Refusal("not_found", "unknown user or device")
    return _Seen(user, device, keysets.keysets_of(connection, application.id, user_id))


def _prepare(ctx: Context, seen: _Seen) -> _Removal:
    """Bind the device's open keysets as ended, after the HSM has vouched for every keyset of the user."""
    now, user = ctx.clock.now(), seen.user
    for keyset in seen.keysets:
        bindings.require_bound(ctx, keyset, user.status)
    ended = [
        (keyset, ended_by(ctx, keyset, KeysetAction.REPLACE, user.status, now))
        for keyset in seen.keysets
        if keyset.device_id == seen.device.id and keyset.status in keyset_rules.OPEN
    ]
    return _Removal(seen, rules.next_status(seen.device.status, DeviceAction.REMOVE), ended, now)


def _settle(connection: Connection, application: Application, removal: _Removal, origin: Origin) -> bool:
    """Write the removal in one unit; False if the user or a keyset changed since it was seen."""
    seen, device = removal.seen, removal.seen.device
    if not users.raise_version(connection, seen.user):
        return False
    lines = [_event(EventType.DEVICE_REMOVED, removal, origin)]
    for keyset, changed in removal.ended:
        keysets.change_keyset(connection, keyset, changed)
        doom_spent(connection, changed, removal.now)
        lines.append(_event(EventType.KEYSET_ENDED, removal, origin, keyset.id))
    devices.remove_devices(connection, [device.id], removal.now)
    record(connection, lines)
    present = _gather(connection, application, seen.user.user_id, device.id)
    data = {"user": seen.user.user_id, "device": device_view(present.device, present.keysets)}
    enqueue(connection, application, CallbackType.DEVICE_REMOVED, data, removal.now)
    return True


def _event(type_: EventType, removal: _Removal, origin: Origin, keyset_id: str | None = None) -> Event:
    device = removal.seen.device
    return make_event(
        type_,
        "deleted" if keyset_id else removal.status,
        removal.now,
        origin,
        reason="device removed" if keyset_id else "application",
        application_id=device.application_id,
        user_id=device.user_id,
        keyset_id=keyset_id,
        detail={"device_id": device.id},
    )
