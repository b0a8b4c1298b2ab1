"""What else an application or an operator may do: policy, callback secret, events, receipt keys, applications."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gateway.ids import new_id
from gateway.refusals import Refusal
from gateway.rules import policy as policies
from gateway.rules.callback_address import parse_address
from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset
from gateway.rules.policy import Policy
from gateway.rules.transaction import Transaction
from gateway.scenarios import bindings, proofs
from gateway.scenarios.access import Asker, make_credential
from gateway.scenarios.context import Context
from gateway.scenarios.deliveries import webhook_secret
from gateway.scenarios.recording import Origin, make_event, record
from gateway.scenarios.representation import event_view
from gateway.store import applications, events, receipt_keys
from gateway.store.applications import Application, Credential
from gateway.store.database import Connection
from gateway.wire import callback
from gateway.wire.receipt import jwk

_APPENDING_PAUSES = (0.01, 0.02, 0.04, 0.08, 0.16, 0.2)
COMMAND_LINE = Origin(request_id="", action="command line")


@dataclass(frozen=True, slots=True)
class NewApplication:
    """What is shown once when an application is added."""

    id: str
    api_key: str
    webhook_secret: str


async def add_application(
    ctx: Context, name: str, callback_url: str | None, scopes: Iterable[str], policy: Policy
) -> NewApplication:
    """Add an application with its first credential.

    Raises:
        Refusal: the callback address cannot be used.
        ValueError: the name is taken, or a scope does not exist.
    """
    if callback_url is not None:
        parse_address(callback_url)
    now = ctx.clock.now()
    application = Application(
        id=new_id("app", now),
        name=name,
        callback_url=callback_url,
        webhook_version=1,
        policy=policy,
        policy_version=1,
        created_at=now,
    )
    credential, api_key = await ctx.on_device(make_credential, ctx, application.id, tuple(scopes))
    secret = await ctx.on_device(webhook_secret, ctx, application)
    if not await ctx.unit(_write_application, application, credential):
        raise ValueError(f"an application named {name!r} is there already")
    return NewApplication(application.id, api_key, callback.format_secret(secret))


def _write_application(connection: Connection, application: Application, credential: Credential) -> bool:
    if not applications.insert_application(connection, application):
        return False
    applications.insert_credential(connection, credential)
    subject = {"application_id": application.id}
    now = application.created_at
    made = make_event(EventType.APPLICATION_CREATED, "created", now, COMMAND_LINE, **subject)
    detail = {"credential": credential.id, "scopes": list(credential.scopes)}
    given = make_event(EventType.CREDENTIAL_CREATED, "created", now, COMMAND_LINE, detail=detail, **subject)
    record(connection, [made, given])
    return True


def policy_view(application: Application) -> dict[str, Any]:
    """Return the policy in force with its version."""
    return {"version": application.policy_version, "policy": policies.to_json(application.policy)}


async def put_policy(ctx: Context, asker: Asker, values: dict[str, Any], origin: Origin) -> dict[str, Any]:
    """Put a policy in force; refuses unknown names and values out of bounds."""
    policy = policies.from_json(values)

    def write(connection: Connection) -> int:
        version = applications.replace_policy(connection, asker.application.id, policy)
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

    Events of the moment may still be on their way into the log: they are waited for, up to half a second, so that
    whoever asks after an answer finds what it brought about. What takes longer is on a later page.
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
    versions = await ctx.reading(receipt_keys.list_receipt_keys)
    keys = [
        jwk(
            ctx.keys.receipt_point,
            proofs.receipt_kid(ctx),
            valid_from=version.created_at,
            valid_until=version.retired_at,
        )
        for version in versions
    ]
    return {"keys": keys}
