"""The bank's door: every call authenticated, checked for its scope and its form, recorded when refused."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.api.application.calls import CALLS, Call
from gateway.api.application.openapi import document
from gateway.api.application.reading import read_ask
from gateway.api.fallback import fallback_handlers
from gateway.api.health import health_routes
from gateway.api.incoming import read_incoming
from gateway.api.large_bodies import LargeBodies
from gateway.api.problems import Reply, problem_reply
from gateway.api.raw_path import RawPath
from gateway.api.read_to_end import ReadToEnd
from gateway.api.recorder import RequestLine
from gateway.api.requests import Peers, declared_bytes, make_origin, new_request_id, read_body, send
from gateway.api.throttle import Throttle
from gateway.scenarios import event_log, receipts
from gateway.scenarios.access import Asker, authenticate_application
from gateway.scenarios.bindings import BrokenBinding
from gateway.scenarios.context import Context
from gateway.scenarios.fair_share import on_behalf_of
from gateway.scenarios.idempotency import seal
from gateway.scenarios.recording import Origin
from gateway.store.transactions import PART_BYTES

_LARGE = 64 * 1024
_Endpoint = Callable[[Request], Awaitable[Response]]


def application_door(ctx: Context, peers: Peers, throttle: Throttle, large: LargeBodies) -> Starlette:
    """Return the ASGI application of the application door."""
    endpoints: dict[str, dict[str, _Endpoint]] = defaultdict(dict)
    for call in CALLS:
        endpoints[call.path][call.method] = _endpoint(ctx, peers, throttle, large, call)
    routes = [Route(path, _by_method(each), methods=list(each)) for path, each in endpoints.items()]
    handlers = fallback_handlers(ctx, peers, throttle, "application")
    routes += [*_open_routes(ctx), *health_routes(ctx)]
    door = Starlette(
        routes=routes, exception_handlers=handlers, middleware=[Middleware(ReadToEnd), Middleware(RawPath)]
    )
    door.router.redirect_slashes = False  # a redirect would repeat the Host that the caller named
    return door


def _open_routes(ctx: Context) -> list[Route]:
    """Return the routes without credentials: the description of the door and the receipt keys."""
    told = JSONResponse(document())  # written once: whoever asks again and again costs no more than any other

    async def openapi(_request: Request) -> JSONResponse:
        return told

    async def jwks(_request: Request) -> JSONResponse:
        return JSONResponse(await receipts.receipt_key_set(ctx), headers={"cache-control": "max-age=300"})

    return [Route("/openapi.json", openapi), Route("/.well-known/jwks.json", jwks)]


def _by_method(endpoints: dict[str, _Endpoint]) -> _Endpoint:
    """Return one endpoint for all calls of a path: of a wrong method, the answer names every right one."""

    async def endpoint(request: Request) -> Response:
        return await endpoints["GET" if request.method == "HEAD" else request.method](request)

    return endpoint


def _endpoint(ctx: Context, peers: Peers, throttle: Throttle, large: LargeBodies, call: Call) -> _Endpoint:
    async def endpoint(request: Request) -> Response:
        request_id = new_request_id(ctx.clock)
        address = peers.address_of(request)
        line = RequestLine("application", request_id, call.method, call.path, address)
        origin = make_origin(request_id, call.name, address, None)
        try:
            throttle.require_open(address)
            reply = await _answer(ctx, large, call, request, origin)
            line.finish(reply)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever happened becomes an answer
            reply, reason = problem_reply(error, request_id)
            if reply.status == HTTPStatus.UNAUTHORIZED:
                throttle.count(address)
            line.finish(reply, reason, error)
        return send(reply, request_id)

    return endpoint


async def _answer(ctx: Context, large: LargeBodies, call: Call, request: Request, origin: Origin) -> Reply:
    authorization = request.headers.get("authorization", "")
    asker = await authenticate_application(ctx, authorization, origin)
    with on_behalf_of(asker.application.id):
        try:
            asker.require_scope(call.scope)
            if call.is_content:
                content = read_incoming(request, ctx.content_bytes_most, PART_BYTES)
                return await call.handler(ctx, await read_ask(call, request, asker, b"", origin, content))
            most = call.body_most(ctx.content_bytes_most)
            declared = declared_bytes(request, most)
            is_large = most > _LARGE and (declared is None or declared > _LARGE)
            async with large.held(asker.application.id) if is_large else nullcontext():
                raw = await read_body(request, most)
                origin = await _origin(origin, call, raw)
                ask = await read_ask(call, request, asker, raw, origin)
                del raw  # large content is in it
                if call.carries_secret:
                    ask = replace(ask, once=await seal(ctx, asker, ask.once))
                return await call.handler(ctx, ask)
        except Exception as error:
            await _record(ctx, asker, error, origin)
            raise


async def _origin(origin: Origin, call: Call, raw: bytes) -> Origin:
    """Return the origin with the hash of the body; hashing a large one would keep everybody waiting."""
    values = (origin.request_id, call.name, origin.address, None if call.carries_secret else raw)
    return await asyncio.to_thread(make_origin, *values) if len(raw) > _LARGE else make_origin(*values)


async def _record(ctx: Context, asker: Asker, error: Exception, origin: Origin) -> None:
    """Record what was refused to the application; an outage or a bug stands in the log of the process."""
    reply, reason = problem_reply(error, origin.request_id)
    if reply.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        broken = error.row if isinstance(error, BrokenBinding) else None
        await event_log.record_refused(ctx, asker, reason, origin, broken)
