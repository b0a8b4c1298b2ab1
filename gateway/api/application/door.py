"""The bank's door: every call authenticated, checked for its scope and its form, recorded when refused."""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.api.application.asking import Ask
from gateway.api.application.calls import CALLS, Call
from gateway.api.application.openapi import document
from gateway.api.fallback import fallback_handlers
from gateway.api.health import health_routes
from gateway.api.problems import Reply, problem_reply
from gateway.api.read_to_end import ReadToEnd
from gateway.api.recorder import RequestLine
from gateway.api.requests import Peers, make_origin, new_request_id, read_body, require_json, send
from gateway.refusals import Refusal
from gateway.scenarios import administration
from gateway.scenarios.access import Asker, authenticate_application
from gateway.scenarios.bindings import BrokenBinding
from gateway.scenarios.context import Context
from gateway.scenarios.idempotency import Once
from gateway.scenarios.recording import Origin
from gateway.wire.request import parse_json
from gateway.wire.text import check_id

_KEY = re.compile(r"[!-~]{1,128}")
_LARGE = 64 * 1024


def application_door(ctx: Context, peers: Peers) -> Starlette:
    """Return the ASGI application of the application door."""
    routes = [Route(call.path, _endpoint(ctx, peers, call), methods=[call.method]) for call in CALLS]
    handlers = fallback_handlers(ctx, peers, "application")
    routes += [*_open_routes(ctx), *health_routes(ctx)]
    door = Starlette(routes=routes, exception_handlers=handlers, middleware=[Middleware(ReadToEnd)])
    door.router.redirect_slashes = False  # a redirect would repeat the Host that the caller named
    return door


def _open_routes(ctx: Context) -> list[Route]:
    """Return the routes without credentials: the description of the door and the receipt keys."""
    described = document()

    async def openapi(_request: Request) -> JSONResponse:
        return JSONResponse(described)

    async def jwks(_request: Request) -> JSONResponse:
        return JSONResponse(
            await administration.receipt_key_set(ctx), headers={"cache-control": "max-age=300"}
        )

    return [Route("/openapi.json", openapi), Route("/.well-known/jwks.json", jwks)]


def _endpoint(ctx: Context, peers: Peers, call: Call) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        request_id = new_request_id(ctx.clock)
        address = peers.address_of(request)
        line = RequestLine("application", request_id, call.method, call.path, address)
        origin = make_origin(request_id, call.name, address, None)
        try:
            reply = await _answer(ctx, call, request, origin)
            line.finish(reply)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever happened becomes an answer
            reply, reason = problem_reply(error, request_id)
            line.finish(reply, reason, error)
        return send(reply, request_id)

    return endpoint


async def _answer(ctx: Context, call: Call, request: Request, origin: Origin) -> Reply:
    authorization = request.headers.get("authorization", "")
    asker = await authenticate_application(ctx, authorization, origin)
    try:
        asker.require_scope(call.scope)
        raw = await read_body(request, call.body_most(ctx.content_bytes_most))
        origin = make_origin(origin.request_id, call.name, origin.address, raw)
        return await call.handler(ctx, await _ask(call, request, asker, raw, origin))
    except Exception as error:
        await _record(ctx, asker, error, origin)
        raise


async def _record(ctx: Context, asker: Asker, error: Exception, origin: Origin) -> None:
    """Record what was refused to the application; an outage or a bug stands in the log of the process."""
    reply, reason = problem_reply(error, origin.request_id)
    if reply.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        broken = error.keyset if isinstance(error, BrokenBinding) else None
        await administration.record_refused(ctx, asker, reason, origin, broken)


async def _ask(call: Call, request: Request, asker: Asker, raw: bytes, origin: Origin) -> Ask:
    _require_utf8(request)
    for name, value in request.path_params.items():
        check_id(value, what=name)
    return Ask(
        asker=asker,
        path=dict(request.path_params),
        query=_query(call, request),
        body=await _body(call, request, raw),
        once=_once(call, request, raw),
        origin=origin,
    )


def _require_utf8(request: Request) -> None:
    """Refuse an address that is not UTF-8: read leniently, several wrong ids would become one."""
    try:
        for part in (request.scope["raw_path"], request.scope["query_string"]):
            unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        raise Refusal("malformed_request", "address is not UTF-8") from None


async def _body(call: Call, request: Request, raw: bytes) -> Any:
    if call.takes is None:
        if raw:
            raise Refusal("malformed_request", "body where none belongs", detail="This call takes no body.")
        return None
    require_json(request)
    if len(raw) > _LARGE:  # a large document would keep everybody waiting
        return await asyncio.to_thread(_read, call, raw)
    return _read(call, raw)


def _read(call: Call, raw: bytes) -> Any:
    assert call.takes is not None
    return call.takes.model_validate(parse_json(raw, most_bytes=len(raw)))


def _query(call: Call, request: Request) -> dict[str, str]:
    known = {query.name: query for query in call.query}
    values: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        query = known.get(name)
        if query is None or name in values or re.fullmatch(query.pattern, value) is None:
            error = {"pointer": f"?{name[:64]}", "detail": "unknown, repeated or of the wrong form"}
            raise Refusal("malformed_request", "query", errors=(error,))
        values[name] = value
    return values


def _once(call: Call, request: Request, raw: bytes) -> Once:
    given = request.headers.getlist("idempotency-key")
    digest = hashlib.sha256(f"{call.method} {request.url.path}\n".encode() + raw).digest()
    if not call.key_accepted or not given:
        if call.key_required:
            raise Refusal("idempotency_key_required")
        return Once(None, digest)
    if len(given) != 1 or _KEY.fullmatch(given[0]) is None:
        raise Refusal("idempotency_key_required", "unusable Idempotency-Key")
    return Once(given[0], digest)
