"""What may an application read of the event log, and what stands there of a request of its own that was refused?"""

import asyncio
from typing import Any

from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset
from gateway.rules.transaction import Transaction
from gateway.scenarios import bindings
from gateway.scenarios.access import Asker
from gateway.scenarios.context import Context
from gateway.scenarios.recording import Origin, make_event, record
from gateway.scenarios.representation import event_view
from gateway.store import events
from gateway.store.database import Connection

_APPENDING_PAUSES = (0.01, 0.02, 0.04, 0.08, 0.16, 0.2)  # seconds between looks


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
