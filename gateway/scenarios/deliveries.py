"""What an application is told without asking: putting callbacks into the outbox, and the secret that seals them."""

from datetime import datetime
from typing import Any

from gateway.ids import new_id
from gateway.refusals import Refusal
from gateway.rules.callback import CallbackType
from gateway.rules.callback_address import require_allowed
from gateway.rules.delivery import sealing_versions
from gateway.rules.event import EventType
from gateway.scenarios.access import Asker
from gateway.scenarios.context import Context
from gateway.scenarios.recording import Origin, make_event, record
from gateway.scenarios.vouching import as_text
from gateway.store import applications, deliveries
from gateway.store.applications import Application
from gateway.store.database import Connection
from gateway.store.deliveries import Delivery
from gateway.wire import callback
from gateway.wire.timestep import format_time


def enqueue(
    connection: Connection,
    application: Application,
    type_: CallbackType,
    data: dict[str, Any],
    now: datetime,
    *,
    transaction_id: str | None = None,
    url: str | None = None,
) -> None:
    """Put one callback into the outbox, in the unit of what it tells; nothing if the application takes none.

    Args:
        connection: the open unit.
        application: who is told.
        type_: what it tells.
        data: the JSON object under ``data``.
        now: the moment of what it tells.
        transaction_id: callbacks of one transaction are numbered and never overtake each other.
        url: address given with the transaction, instead of the application's own.
    """
    target = url or application.callback_url
    if target is None:
        return
    sequence = 0 if transaction_id is None else deliveries.next_sequence(connection, transaction_id)
    made = make_delivery(
        application, target, type_, data, now, transaction_id=transaction_id, sequence=sequence
    )
    deliveries.insert_deliveries(connection, [made], now)


def make_delivery(
    application: Application,
    url: str,
    type_: CallbackType,
    data: dict[str, Any],
    now: datetime,
    *,
    transaction_id: str | None,
    sequence: int,
) -> Delivery:
    """Return a callback as it stands in the outbox; ``sequence`` is its number among those of its transaction."""
    body = {"type": type_, "timestamp": format_time(now), "sequence": sequence, "data": data}
    return Delivery(
        id=new_id("msg", now),
        application_id=application.id,
        transaction_id=transaction_id,
        sequence=sequence,
        type=type_,
        url=url,
        body=as_text(body),
        tries=0,
    )


def target_of(application: Application, delivery: Delivery) -> str | None:
    """Return where a callback goes: where it was made for, or the registered address if that is elsewhere by now.

    None: the application takes none at the moment. Whatever the outbox says, nothing leaves the registered origin.
    """
    try:
        require_allowed(delivery.url, application.callback_url)
    except (Refusal, TypeError, AttributeError):  # SQLite keeps values of any type
        return application.callback_url
    return delivery.url


def webhook_secret(ctx: Context, application: Application, version: int | None = None) -> bytes:
    """Return a secret of the application's callbacks: 32 bytes, recomputed in the HSM, never stored.

    Args:
        ctx: the context.
        application: whose.
        version: which; the present one if none is named.
    """
    which = application.webhook_version if version is None else version
    return ctx.device.mac(ctx.keys.webhook, callback.secret_input(application.id, which))


def sealing_secrets(ctx: Context, application: Application) -> list[bytes]:
    """Return the secrets that seal a callback now, newest first; two while the application changes them."""
    versions = sealing_versions(application.webhook_version, application.webhook_rotated_at, ctx.clock.now())
    return [webhook_secret(ctx, application, version) for version in versions]


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
