"""How does content come in by itself, part by part, and what becomes of it until a transaction uses it?"""

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from gateway.ids import new_id
from gateway.refusals import Outage, Refusal
from gateway.rules.event import EventType
from gateway.scenarios.access import Asker
from gateway.scenarios.context import Context
from gateway.scenarios.recording import Origin, make_event, record
from gateway.scenarios.representation import upload_view
from gateway.store import uploads
from gateway.store.database import Connection
from gateway.store.uploads import Upload
from gateway.wire.house_inputs import upload_input

KEPT = timedelta(hours=1)
_COMES_WITHIN = timedelta(minutes=10)  # longer than the door takes; beyond it the rest of it keeps no room
_BATCH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """Content on its way: ``parts`` come in the size in which they are kept, and never exceed ``size_most`` in all."""

    media_type: str
    size_most: int
    parts: AsyncIterator[bytes]


async def receive_content(ctx: Context, asker: Asker, incoming: Incoming, origin: Origin) -> dict[str, Any]:
    """Keep the content and return its view. Never more than a part of it is in memory, and no unit waits for the next.

    Raises:
        Refusal: ``too_many_uploads``, ``malformed_request`` for nothing at all, and whatever ``incoming.parts`` raises.
    """
    now = ctx.clock.now()
    upload = Upload(
        id=new_id("cnt", now),
        application_id=asker.application.id,
        media_type=incoming.media_type,
        size=incoming.size_most,
        created_at=now,
        expires_at=now + _COMES_WITHIN,
    )
    await ctx.unit(_begin, ctx, upload)
    try:
        upload = replace(await _keep(ctx, upload, incoming.parts), expires_at=now + KEPT)
        upload = await ctx.on_device(_vouch, ctx, upload)
        await ctx.unit(_complete, ctx, upload, replace(origin, body_sha256=upload.content_sha256))
    except Exception:
        with contextlib.suppress(Outage):  # then it goes when its time is over
            await ctx.unit(uploads.drop_upload, upload.id)
        raise
    return upload_view(upload)


def _begin(connection: Connection, ctx: Context, upload: Upload) -> None:
    """Reserve the room, so that many at once do not exceed together what each of them does not."""
    number, size = uploads.lock_waiting(connection, upload.application_id)
    if number >= ctx.uploads_most or size + upload.size > ctx.upload_bytes_most:
        detail = (
            f"At most {ctx.uploads_most} contents of {ctx.upload_bytes_most} bytes in all wait for a transaction; "
            f"there are {number} of {size} bytes."
        )
        raise Refusal("too_many_uploads", detail=detail)
    uploads.insert_upload(connection, upload)


async def _keep(ctx: Context, upload: Upload, parts: AsyncIterator[bytes]) -> Upload:
    digest, size, number = hashlib.sha256(), 0, 0
    async for part in parts:
        await asyncio.to_thread(digest.update, part)
        if not await ctx.unit(uploads.insert_part, upload.id, number, part):
            raise _swept()
        size += len(part)
        number += 1
    if not size:
        raise Refusal("malformed_request", "empty content", detail="The content is empty.")
    return replace(upload, size=size, content_sha256=digest.digest())


def _complete(connection: Connection, ctx: Context, upload: Upload, origin: Origin) -> None:
    if not uploads.complete_upload(connection, upload):
        raise _swept()
    event = make_event(
        EventType.CONTENT_RECEIVED,
        "received",
        ctx.clock.now(),
        origin,
        application_id=upload.application_id,
        detail={"content_id": upload.id, "media_type": upload.media_type, "size": upload.size},
    )
    record(connection, [event])


def _swept() -> Refusal:
    return Refusal("too_slow", "swept while it came in")


def _vouch(ctx: Context, upload: Upload) -> Upload:
    """Return the upload with its MAC: whoever writes to the database shall not choose what a user is asked."""
    return replace(upload, mac=ctx.device.mac(ctx.keys.credential, _mac_input(upload)))


def require_vouched(ctx: Context, upload: Upload) -> None:
    """Raise ``integrity_failure`` unless the row is the one the HSM vouched for. Talks to the device."""
    try:
        over, given = _mac_input(upload), bytes(upload.mac or b"")
    except (AttributeError, OverflowError, TypeError, ValueError):  # SQLite keeps values of any type
        over, given = b"", b""
    if not hmac.compare_digest(given, ctx.device.mac(ctx.keys.credential, over)):
        raise Refusal("integrity_failure", f"{upload.id} is not the one the HSM vouched for")


def _mac_input(upload: Upload) -> bytes:
    about = (upload.id, upload.application_id, upload.media_type)
    return upload_input(*about, upload.size, upload.content_sha256)


def no_such_content() -> Refusal:
    """Return the refusal of content that is not (any more) there for a transaction."""
    detail = "There is no such content: it was used, its hour is over, or it never came to its end."
    return Refusal("not_found", "unknown content", detail=detail)


async def sweep_uploads(ctx: Context) -> int:
    """Drop content that no transaction used in time, and what was interrupted; return how many."""
    over = await ctx.reading(uploads.expired_uploads, ctx.clock.now(), _BATCH)
    for upload_id in over:  # one by one: each may be large
        await ctx.unit(uploads.drop_upload, upload_id)
    return len(over)
