"""What else an application may do: policy, callback secret, events, receipt keys."""

import asyncio
from typing import Any

from gateway.refusals import Refusal
from gateway.rules import policy as policies
from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset
from gateway.rules.transaction import Transaction
from gateway.scenarios import bindings
from gateway.scenarios.access import Asker
from gateway.scenarios.context import Context
from gateway.scenarios.deliveries import webhook_secret
from gateway.scenarios.recording import Origin, make_event, record
from gateway.scenarios.representation import event_view
from gateway.store import applications, events, receipt_keys
from gateway.store.applications import Application, PolicyVersion
from gateway.store.database import Connection
from gateway.wire import callback
from gateway.wire.receipt import jwk
from gateway.wire.timestep import format_time

_APPENDING_PAUSES = (0.01, 0.02, 0.04, 0.08, 0.16, 0.2)


def policy_view(application: Application) -> dict[str, Any]:
    """Return the policy in force with its version."""
    return {"version": application.policy_version, "policy": policies.to_json(application.policy)}


def _require_possible(ctx: Context, policy: policies.Policy) -> None:
    if policy.residency is policies.Residency.DERIVED and not ctx.device.can_derive:
        errors = ({"pointer": "/residency", "detail": "this token cannot derive keys"},)
        raise Refusal("malformed_request", "policy that the token cannot keep", errors=errors)


async def put_policy(ctx: Context, asker: Asker, values: dict[str, Any], origin: Origin) -> dict[str, Any]:
    """Put a policy in force; refuses unknown names and values out of bounds."""
    policy = policies.from_json(values)
    _require_possible(ctx, policy)

    def write(connection: Connection) -> int:
        version = applications.replace_policy(connection, asker.application.id, policy, ctx.clock.now())
        event = make_event(
            EventType.POLICY_CHANGED,
            "changed",
            ctx.clock.now(),
            origin,
            application_id=asker.application.id,
            detail={"version": version, "policy": values},
        )
        record(connection, [event])
        return version

    return {"version": await ctx.unit(write), "policy": policies.to_json(policy)}


async def fetch_policy(ctx: Context, asker: Asker, version: int) -> dict[str, Any]:
    """Return the policy that had this version. Raises Refusal ``not_found``."""
    found = await ctx.reading(applications.find_policy, asker.application.id, version)
    if found is None:
        raise Refusal("not_found", "no such version of the policy")
    return _version_view(found)


async def list_policies(ctx: Context, asker: Asker, after: int, limit: int) -> list[dict[str, Any]]:
    """Return a page of the policies there were, oldest first."""
    found = await ctx.reading(applications.list_policies, asker.application.id, after, limit)
    return [_version_view(each) for each in found]


def _version_view(found: PolicyVersion) -> dict[str, Any]:
    return {"version": found.version, "since": format_time(found.created_at), "policy": found.policy}


async def rotate_webhook_secret(ctx: Context, asker: Asker, origin: Origin) -> tuple[str, int]:
    """Count the callback secret up and return the new one, once, with its version.

    Raises:
        Refusal: ``concurrent_change``.
    """
    application, now = asker.application, ctx.clock.now()
    version = application.webhook_version + 1
    # The HSM comes first: a version nobody was shown would seal callbacks that nobody can check.
    secret = await ctx.on_device(webhook_secret, ctx, application, version)
    event = make_event(
        EventType.WEBHOOK_SECRET_SHOWN,
        "shown",
        now,
        origin,
        application_id=application.id,
        detail={"version": version},
    )

    def write(connection: Connection) -> bool:
        raised = applications.raise_webhook_version(connection, application, now)
        record(connection, [event] if raised else [])
        return raised

    if not await ctx.unit(write):
        raise Refusal("concurrent_change")
    return callback.format_secret(secret), version


async def list_events(
    ctx: Context, asker: Asker, filters: dict[str, str], after: int, limit: int
) -> list[dict[str, Any]]:
    """Return a page of the application's events, oldest first.

    Events of the moment may still be on their way into the log. They are waited for, up to half a second: whoever asks
    right after an answer finds what it brought about. What takes longer is on a later page.
    """
    last = (horizon := await ctx.reading(events.horizon)).last
    for pause in _APPENDING_PAUSES:
        if horizon.complete >= last:
            break
        await asyncio.sleep(pause)
        horizon = await ctx.reading(events.horizon)
    lines = await ctx.reading(
        events.list_events,
        asker.application.id,
        filters=filters,
        after=after,
        through=horizon.complete,
        limit=limit,
    )
    return [event_view(number, event) for number, event in lines]


async def record_refused(
    ctx: Context, asker: Asker, reason: str, origin: Origin, broken: Keyset | Transaction | None = None
) -> None:
    """Record a request that was refused to an authenticated application; an alarm if it met a broken row."""
    now = ctx.clock.now()
    event = make_event(
        EventType.APPLICATION_REFUSED,
        "refused",
        now,
        origin,
        reason=reason,
        application_id=asker.application.id,
    )
    lines = [event] if broken is None else [event, bindings.alarm(broken, now, origin)]

    def write(connection: Connection) -> None:
        record(connection, lines)

    await ctx.unit(write)


async def receipt_key_set(ctx: Context) -> dict[str, Any]:
    """Return the JWK Set of the receipt keys; the points come from the HSM, the times from the database."""
    times = {each.version: each for each in await ctx.reading(receipt_keys.list_receipt_keys)}
    keys = []
    for key in ctx.keys.receipts.known:
        noted = times.get(key.version)
        valid_from, valid_until = (noted.created_at, noted.retired_at) if noted else (None, None)
        keys.append(jwk(key.point, key.kid, valid_from=valid_from, valid_until=valid_until))
    return {"keys": keys}
