"""What does a request of an application say: path, query, body and idempotency key, each checked for its form."""

import asyncio
import hashlib
import re
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.requests import Request

from gateway.api.application.asking import Ask
from gateway.api.application.calls import Call, Query
from gateway.api.application.crowded import is_crowded
from gateway.api.requests import require_json
from gateway.refusals import Refusal
from gateway.scenarios.access import Asker
from gateway.scenarios.idempotency import Once
from gateway.scenarios.recording import Origin
from gateway.scenarios.uploads import Incoming
from gateway.wire.request import parse_json
from gateway.wire.text import check_id

_KEY = re.compile(r"[!-~]{1,128}")
_NUMBER = re.compile(r"\d{1,15}")
_LARGE = 64 * 1024


async def read_ask(
    call: Call, request: Request, asker: Asker, raw: bytes, origin: Origin, content: Incoming | None = None
) -> Ask:
    """Return what a handler gets to see; ``content`` stands for a body that is not read yet.

    Raises:
        Refusal, WireError, pydantic.ValidationError: it is not of the form the call takes.
    """
    _require_utf8(request)
    if call.takes is None and raw:
        raise Refusal("malformed_request", "body where none belongs", detail="This call takes no body.")
    if call.takes is not None:
        require_json(request)

    def read() -> Ask:
        return Ask(
            asker=asker,
            path=_path(request),
            query=_query(call, request),
            body=_body(call, raw) if content is None else content,
            once=_once(call, request, raw),
            origin=origin,
            last_event_id=_last_event_id(request) if call.follows else None,
        )

    # Reading a large document would keep everybody waiting.
    return await asyncio.to_thread(read) if len(raw) > _LARGE else read()


def _require_utf8(request: Request) -> None:
    """Refuse an address that is not UTF-8: read leniently, several wrong ids would become one."""
    try:
        for part in (request.scope["raw_path"], request.scope["query_string"]):
            unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        raise Refusal("malformed_request", "address is not UTF-8") from None


def _path(request: Request) -> dict[str, str]:
    """Return the ids in the path; routes match the path as it was sent, so an id may hold an encoded slash."""
    values = {name: unquote_to_bytes(value).decode() for name, value in request.path_params.items()}
    for name, value in values.items():
        check_id(value, what=name)
    return values


def _body(call: Call, raw: bytes) -> Any:
    if call.takes is None:
        return None
    if is_crowded(raw):
        raise Refusal(
            "malformed_request", "crowded body", detail="The body has more values than any call takes."
        )
    return call.takes.model_validate(parse_json(raw, most_bytes=len(raw)))


def _query(call: Call, request: Request) -> dict[str, str]:
    known = {query.name: query for query in call.query}
    values: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        query = known.get(name)
        if query is None or name in values or not query.takes(value):
            error = {"pointer": f"?{name[:64]}", "detail": _wanted(query, is_repeated=name in values)}
            raise Refusal("malformed_request", "query", errors=(error,))
        values[name] = value
    return values


def _wanted(query: Query | None, *, is_repeated: bool) -> str:
    if query is None:
        return "unknown parameter"
    if is_repeated:
        return "given twice"
    if query.bounds is not None:
        return f"must be a whole number from {query.bounds[0]} to {query.bounds[1]}"
    return f"must be of the form {query.pattern}"


def _last_event_id(request: Request) -> int | None:
    given = request.headers.getlist("last-event-id")
    if not given:
        return None
    if len(given) != 1 or _NUMBER.fullmatch(given[0]) is None:
        raise Refusal("malformed_request", "Last-Event-ID", detail="Last-Event-ID is the number of an event.")
    return int(given[0])


def _once(call: Call, request: Request, raw: bytes) -> Once:
    given = request.headers.getlist("idempotency-key")
    hashed = hashlib.sha256(f"{call.method} {request.url.path}\n".encode())
    hashed.update(raw)
    digest = hashed.digest()
    if not call.key_accepted or not given:
        if call.key_required:
            raise Refusal("idempotency_key_required")
        return Once(None, digest)
    if len(given) != 1 or _KEY.fullmatch(given[0]) is None:
        raise Refusal("idempotency_key_required", "unusable Idempotency-Key")
    return Once(given[0], digest)
