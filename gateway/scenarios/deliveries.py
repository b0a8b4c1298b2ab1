"""What an application is told without asking: putting callbacks into the outbox, and the secret that seals them."""

from datetime import datetime
from typing import Any

from gateway.ids import new_id
from gateway.scenarios.context import Context
from gateway.scenarios.vouching import as_text
from gateway.store import deliveries
from gateway.store.applications import Application
from gateway.store.database import Connection
from gateway.store.deliveries import Delivery
from gateway.wire import callback
from gateway.wire.timestep import format_time


def enqueue(
    connection: Connection,
    application: Application,
    type_: str,
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
        type_: e.g. ``transaction.confirmed``.
        data: the JSON object under ``data``.
        now: the moment of what it tells.
        transaction_id: callbacks of one transaction are numbered and never overtake each other.
        url: address given with the transaction, instead of the application's own.
    """
    target = url or application.callback_url
    if target is None:
        return
    sequence = 0 if transaction_id is None else deliveries.next_sequence(connection, transaction_id)
    body = {"type": type_, "timestamp": format_time(now), "sequence": sequence, "data": data}
    delivery = Delivery(
        id=new_id("msg", now),
        application_id=application.id,
        transaction_id=transaction_id,
        sequence=sequence,
        type=type_,
        url=target,
        body=as_text(body),
        tries=0,
    )
    deliveries.insert_delivery(connection, delivery, now)


def webhook_secret(ctx: Context, application: Application) -> bytes:
    """Return the secret that seals the application's callbacks: 32 bytes, recomputed in the HSM, never stored."""
    return ctx.device.mac(
        ctx.keys.webhook, callback.secret_input(application.id, application.webhook_version)
    )
