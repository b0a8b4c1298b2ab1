"""How does a body that is content by itself come in: in parts, each within its time, never whole in memory."""

import asyncio
import re
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from gateway.api.requests import declared_bytes, too_large
from gateway.refusals import Refusal
from gateway.scenarios.uploads import Incoming

MEDIA_TYPE_PATTERN = r"^[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+(; ?[ -~]+)?$"
MEDIA_TYPE_MOST = 127
PART_SECONDS, ALL_SECONDS = 30, 300
_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")  # not content, but how a page wraps it
_TOO_SLOW = f"Each 256 KiB come within {PART_SECONDS} seconds, and all within {ALL_SECONDS}."


def read_incoming(request: Request, most_bytes: int, part_bytes: int) -> Incoming:
    """Return the content that the body is; nothing of it has been read yet.

    Raises:
        Refusal: ``too_large`` by its Content-Length, ``unsupported_media_type`` for an encoded body or none that is
            said. ``parts`` then may raise ``too_large``, ``too_slow`` and, when the caller went away,
            ``malformed_request``.
    """
    media_type = _media_type(request)
    declared = declared_bytes(request, most_bytes)
    size_most = most_bytes if declared is None else declared
    return Incoming(media_type=media_type, size_most=size_most, parts=_parts(request, size_most, part_bytes))


def _media_type(request: Request) -> str:
    given = request.headers.getlist("content-type")
    kind, semicolon, parameters = (given[0] if len(given) == 1 else "").partition(";")
    kind = kind.strip().lower()
    media_type = kind + semicolon + parameters
    fits = len(media_type) <= MEDIA_TYPE_MOST and re.fullmatch(MEDIA_TYPE_PATTERN, media_type) is not None
    if kind in _FORMS or not fits:
        detail = "Content-Type is the media type of the content, and the body is the content, not a form."
        raise Refusal("unsupported_media_type", "Content-Type of content", detail=detail)
    return media_type


async def _parts(request: Request, most_bytes: int, part_bytes: int) -> AsyncIterator[bytes]:
    now = asyncio.get_running_loop().time
    chunks, held, size, end = request.stream(), bytearray(), 0, now() + ALL_SECONDS
    more = True
    while more:
        try:
            async with asyncio.timeout_at(min(now() + PART_SECONDS, end)):
                while more and len(held) < part_bytes:
                    chunk = await anext(chunks, None)
                    more = chunk is not None
                    held += chunk or b""
        except TimeoutError:
            raise Refusal("too_slow", detail=_TOO_SLOW) from None
        except ClientDisconnect:
            raise Refusal("malformed_request", "the caller went away") from None
        while len(held) >= part_bytes or (held and not more):
            part = bytes(held[:part_bytes])
            del held[:part_bytes]
            size += len(part)
            if size > most_bytes:
                raise too_large(most_bytes)
            yield part
