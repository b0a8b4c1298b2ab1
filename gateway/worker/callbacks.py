"""How does a callback reach its application: claimed, sealed, posted, and tried again until it arrives.

Each try has the same id, a fresh time and a fresh seal. The name of the host is resolved once and the address is
checked before the connection is made to exactly that address, so that a name cannot point into the inner network.
"""

import asyncio
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import httpx2
import structlog

from gateway.refusals import Outage
from gateway.rules.callback_address import is_public
from gateway.rules.delivery import CLAIM_SECONDS, DeliveryStatus, pause_after
from gateway.rules.event import EventType
from gateway.scenarios.context import Context
from gateway.scenarios.deliveries import webhook_secret
from gateway.scenarios.recording import SYSTEM, make_event, record
from gateway.store import applications, deliveries
from gateway.store.database import Connection
from gateway.store.deliveries import Delivery
from gateway.wire import callback

_log = structlog.get_logger("worker")
_BATCH = 20
_SUCCESS = 2  # hundred and something
_ERROR_MOST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """How callbacks are posted."""

    tls: ssl.SSLContext
    private_addresses: bool
    seconds_most: int


class NotDelivered(Exception):
    """A try failed; the text says why and holds nothing of the body."""


async def deliver_due(ctx: Context, post: Post) -> int:
    """Make one try of every callback that is due, side by side; return how many were tried."""
    now = ctx.clock.now()
    until = now + timedelta(seconds=CLAIM_SECONDS + post.seconds_most)
    claimed = await ctx.unit(deliveries.claim_deliveries, now, until, _BATCH)
    tries = (_try(ctx, post, delivery) for delivery in claimed)
    for failure in await asyncio.gather(*tries, return_exceptions=True):
        if failure is not None:  # an outage or a bug: the others have come to their end before it is told
            raise failure
    return len(claimed)


async def _try(ctx: Context, post: Post, delivery: Delivery) -> None:
    try:
        headers = await _seal(ctx, delivery)
        await _send(post, delivery, headers)
    except NotDelivered as error:
        await ctx.unit(_note_failure, ctx, delivery, str(error)[:_ERROR_MOST])
        _log.warning("callback not accepted", delivery=delivery.id, tries=delivery.tries + 1, why=str(error))
        return
    await ctx.unit(_note_success, ctx, delivery)


async def _seal(ctx: Context, delivery: Delivery) -> dict[str, str]:
    application = await ctx.reading(applications.find_application, delivery.application_id)
    if application is None:
        raise Outage("the application of a callback is gone")
    secret = await ctx.on_device(webhook_secret, ctx, application)
    sent_at = ctx.clock.now().replace(microsecond=0)
    sealed = callback.headers(delivery.id, sent_at, delivery.body.encode(), [secret])
    return {**sealed, "content-type": "application/json", "user-agent": "Countersign"}


async def _send(post: Post, delivery: Delivery, headers: dict[str, str]) -> None:
    try:
        # From the name to the status; the client's own limits are off.
        async with asyncio.timeout(post.seconds_most):
            status = await _exchange(post, delivery, headers)
    except TimeoutError:
        raise NotDelivered("no answer in time") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
        raise NotDelivered(f"no connection: {type(error).__name__}") from None
    if status // 100 != _SUCCESS:
        raise NotDelivered(f"answered with status {status}")


async def _exchange(post: Post, delivery: Delivery, headers: dict[str, str]) -> int:
    parts = urlsplit(delivery.url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = await _resolve(post, host, port)
    literal = f"[{address}]" if ":" in address else address
    url = parts._replace(netloc=f"{literal}:{port}").geturl()
    named = {**headers, "host": parts.netloc}
    async with (
        httpx2.AsyncClient(verify=post.tls, follow_redirects=False, trust_env=False, timeout=None) as client,
        # The answer's body is of no interest and may be endless: it is not read.
        client.stream(
            "POST",
            url,
            content=delivery.body.encode(),
            headers=named,
            extensions={"sni_hostname": host},
        ) as answer,
    ):
        return answer.status_code


async def _resolve(post: Post, host: str, port: int) -> str:
    """Return the address to connect to; refuses one that callbacks may not reach."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # the second: a label that no name can have
        raise NotDelivered("the name of the host cannot be resolved") from None
    addresses = [str(entry[4][0]) for entry in found]
    if not post.private_addresses and not all(is_public(address) for address in addresses):
        raise NotDelivered("the host has an address that callbacks may not reach")
    # IPv4 first: many inner networks resolve IPv6 but do not route it.
    return min(addresses, key=lambda address: ipaddress.ip_address(address).version)


def _note_success(connection: Connection, ctx: Context, delivery: Delivery) -> None:
    now = ctx.clock.now()
    deliveries.end_delivery(connection, delivery.id, DeliveryStatus.DELIVERED, now, None)
    _record(connection, ctx, delivery, EventType.CALLBACK_DELIVERED, "delivered", None)


def _note_failure(connection: Connection, ctx: Context, delivery: Delivery, error: str) -> None:
    now = ctx.clock.now()
    pause = pause_after(delivery.tries + 1)
    if pause is None:
        deliveries.end_delivery(connection, delivery.id, DeliveryStatus.GIVEN_UP, now, error)
        _record(connection, ctx, delivery, EventType.CALLBACK_GIVEN_UP, "given_up", error)
        return
    deliveries.postpone_delivery(connection, delivery.id, now + pause, error)
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
