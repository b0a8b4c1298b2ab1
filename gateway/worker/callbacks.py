"""How does a callback reach its application: claimed, sealed, posted, and tried again until it arrives.

Each try has the same id, a fresh time and a fresh seal.
"""

from datetime import datetime, timedelta

import structlog

from gateway.refusals import Outage
from gateway.rules.delivery import (
    CLAIM_SECONDS,
    RUNNING_MOST,
    RUNNING_PER_APPLICATION,
    DeliveryAction,
    pause_after,
)
from gateway.rules.event import EventType
from gateway.scenarios.context import Context
from gateway.scenarios.deliveries import sealing_secrets, target_of
from gateway.scenarios.recording import SYSTEM, make_event, record
from gateway.scenarios.vouching import Forged, require_genuine
from gateway.store import applications, deliveries
from gateway.store.database import Connection
from gateway.store.deliveries import Delivery
from gateway.wire import callback
from gateway.wire.errors import WireError
from gateway.worker.posting import NotDelivered, Post, send
from gateway.worker.tries import Tries

_log = structlog.get_logger("worker")
_ERROR_MOST = 200


class Courier:
    """Keeps as many tries under way as there is room for, so many of each application that none holds up the others.

    A callback is claimed when there is room for it and not before, so a claim is no longer than one try can take.
    """

    def __init__(self, ctx: Context, post: Post) -> None:
        self._ctx, self._post = ctx, post
        self.tries = Tries()

    async def start_due(self) -> int:
        """Claim what is due and begin a try of each; return how many.

        Raises what a try failed with that was not the receiver's fault: an outage, or a bug.
        """
        self.tries.raise_failure()
        until = self._ctx.clock.now() + timedelta(seconds=CLAIM_SECONDS + self._post.seconds_most)
        claimed = await self._claim(until)
        for delivery in claimed:
            self.tries.begin(delivery.application_id, _try(self._ctx, self._post, delivery, until))
        return len(claimed)

    async def _claim(self, until: datetime) -> list[Delivery]:
        busy = self.tries.busy()
        free = RUNNING_MOST - busy.total()
        if free <= 0:
            return []
        now = self._ctx.clock.now()
        due = await self._ctx.reading(deliveries.due_applications, now)
        room = {}
        for application in sorted(due, key=lambda each: busy[each]):  # who has least under way comes first
            most = min(RUNNING_PER_APPLICATION - busy[application], free)
            if most > 0:
                room[application] = most
                free -= most
        return await self._ctx.unit(deliveries.claim_deliveries, now, until, room) if room else []


async def _try(ctx: Context, post: Post, delivery: Delivery, until: datetime) -> None:
    try:
        url, headers = await _seal(ctx, delivery)
        if ctx.clock.now() + timedelta(seconds=post.seconds_most) > until:
            return  # sealing took so long that another worker may begin before this try would have ended
        await send(post, url, delivery.body.encode(), headers)
    except Forged as error:
        await ctx.unit(_note_forged, ctx, delivery, str(error)[:_ERROR_MOST])
        _log.error("callback is not the gateway's", delivery=delivery.id, why=str(error))
        return
    except NotDelivered as error:
        await ctx.unit(_note_failure, ctx, delivery, str(error)[:_ERROR_MOST])
        _log.warning("callback not accepted", delivery=delivery.id, tries=delivery.tries + 1, why=str(error))
        return
    await ctx.unit(_note_success, ctx, delivery)


async def _seal(ctx: Context, delivery: Delivery) -> tuple[str, dict[str, str]]:
    """Return where the callback goes, and the headers that seal it."""
    application = await ctx.reading(applications.find_application, delivery.application_id)
    if application is None:
        raise Outage("the application of a callback is gone")
    await ctx.on_device(require_genuine, ctx, delivery)
    url = target_of(application, delivery)
    if url is None:
        raise NotDelivered("no address is registered")
    secrets = await ctx.on_device(sealing_secrets, ctx, application)
    sent_at = ctx.clock.now().replace(microsecond=0)
    try:
        sealed = callback.headers(delivery.id, sent_at, delivery.body.encode(), secrets)
    except WireError:
        raise Forged("the id is not one of a callback") from None
    return url, {**sealed, "content-type": "application/json", "user-agent": "Countersign"}


def _note_success(connection: Connection, ctx: Context, delivery: Delivery) -> None:
    deliveries.note_try(connection, delivery.id, DeliveryAction.ARRIVE, None, now=ctx.clock.now())
    _record(connection, ctx, delivery, EventType.CALLBACK_DELIVERED, "delivered", None)


def _note_forged(connection: Connection, ctx: Context, delivery: Delivery, error: str) -> None:
    now = ctx.clock.now()
    deliveries.note_try(connection, delivery.id, DeliveryAction.GIVE_UP, error, now=now, tried=False)
    _record(connection, ctx, delivery, EventType.CALLBACK_FORGED, "alarm", error)


def _note_failure(connection: Connection, ctx: Context, delivery: Delivery, error: str) -> None:
    now = ctx.clock.now()
    pause = pause_after(delivery.tries + 1)
    if pause is None:
        deliveries.note_try(connection, delivery.id, DeliveryAction.GIVE_UP, error, now=now)
        _record(connection, ctx, delivery, EventType.CALLBACK_GIVEN_UP, "given_up", error)
        return
    deliveries.note_try(connection, delivery.id, DeliveryAction.FAIL, error, now=now, next_at=now + pause)
    _record(connection, ctx, delivery, EventType.CALLBACK_FAILED, "failed", error)


def _record(
    connection: Connection,
    ctx: Context,
    delivery: Delivery,
    type_: EventType,
    result: str,
    reason: str | None,
) -> None:
    event = make_event(
        type_,
        result,
        ctx.clock.now(),
        SYSTEM,
        reason=reason,
        application_id=delivery.application_id,
        transaction_id=delivery.transaction_id,
        detail={"delivery": delivery.id, "tries": delivery.tries + 1, "type": delivery.type},
    )
    record(connection, [event])
