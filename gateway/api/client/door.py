"""The phone's door: each request authenticated, each answer proved."""

from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from gateway.api.by_path import ByPath, Endpoint
from gateway.api.client.actions import ACTIONS
from gateway.api.client.openapi import PREFIX, document
from gateway.api.fallback import fallback_handlers
from gateway.api.health import health_routes
from gateway.api.problems import Reply, json_reply, problem_reply
from gateway.api.read_to_end import ReadToEnd
from gateway.api.recorder import RequestLine
from gateway.api.requests import (
    Peers,
    make_origin,
    new_request_id,
    read_body,
    require_json,
    send,
    shown_authcode,
)
from gateway.api.throttle import Throttle
from gateway.refusals import Refusal
from gateway.scenarios import phone_recording
from gateway.scenarios.authentication import Caller, ClientRequest, authenticate, prove_answer
from gateway.scenarios.context import Context
from gateway.scenarios.phone_reading import Mark, pending_after
from gateway.scenarios.together import Together
from gateway.wire import authcode
from gateway.wire.request import MOST_REQUEST_BYTES, parse_envelope


def client_door(ctx: Context, peers: Peers, throttle: Throttle) -> ASGIApp:
    """Return the ASGI application of the client door."""
    together = Together(ctx, _reply)
    endpoints = {PREFIX + action: _endpoint(ctx, together, peers, throttle, action) for action in ACTIONS}
    routes = [Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints.items()]
    routes += [_description(), *health_routes(ctx)]
    others = Starlette(routes=routes, exception_handlers=fallback_handlers(ctx, peers, throttle, "client"))
    others.router.redirect_slashes = False  # a redirect would repeat the Host that the caller named
    return ReadToEnd(ByPath(others, endpoints))


def _description() -> Route:
    """Return the route of the OpenAPI document, which needs no credentials."""
    told = JSONResponse(document())  # written once: whoever asks again and again costs no more than any other

    async def openapi(_request: Request) -> JSONResponse:
        return told

    return Route(PREFIX + "openapi.json", openapi)


def _endpoint(ctx: Context, together: Together, peers: Peers, throttle: Throttle, action: str) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        request_id = new_request_id(ctx.clock)
        address = peers.address_of(request)
        line = RequestLine("client", request_id, "POST", PREFIX + action, address)
        try:
            throttle.require_open(address)
        except Refusal as refusal:
            reply, _ = problem_reply(refusal, request_id)
            line.finish(reply, refusal.reason)
            return send(reply, request_id)
        reply, reason, error = await _answer(ctx, together, request, action, request_id, address)
        throttle.count_unproved(address, reply)
        line.finish(reply, reason, error)
        return send(reply, request_id)

    return endpoint


async def _answer(
    ctx: Context, together: Together, request: Request, action: str, request_id: str, address: str | None
) -> tuple[Reply, str | None, Exception | None]:
    caller: Caller | None = None
    raw: bytes | None = None
    try:
        raw = await read_body(request, MOST_REQUEST_BYTES)
        require_json(request)
        asked = _parse(request, action, raw, request_id, address)
        mark = Mark.now(ctx)
        decided = await together.decide(asked)
        if decided is not None:
            caller = decided.caller
            changed = None if decided.is_final else await pending_after(ctx, caller, mark)
            if changed is not None:
                return await _proved(ctx, caller, _reply(changed)), None, None
            if decided.proof is None:
                return await _proved(ctx, caller, decided.reply), None, None
            return _with_proof(decided.reply, decided.proof), None, None
        caller = await authenticate(ctx, asked)
        result = await ACTIONS[action].scenario(ctx, caller)
        return await _proved(ctx, caller, _reply(result)), None, None
    except Exception as error:  # noqa: BLE001 - the boundary: whatever happened becomes an answer
        origin = make_origin(request_id, action, address, raw, shown_authcode(request))
        return await _refused(ctx, caller, error, origin.request_id, origin)


def _parse(request: Request, action: str, raw: bytes, request_id: str, address: str | None) -> ClientRequest:
    envelope, shown = parse_envelope(raw, action), shown_authcode(request)
    origin = make_origin(request_id, action, address, raw, shown)
    return ClientRequest(raw=raw, envelope=envelope, authcode=shown, origin=origin)


def _reply(result: Any) -> Reply:
    if isinstance(result, bytes):
        return Reply(200, result, "application/octet-stream")
    return json_reply(200, result)


async def _proved(ctx: Context, caller: Caller, reply: Reply) -> Reply:
    return _with_proof(reply, await prove_answer(ctx, caller, reply.status, reply.content_type, reply.body))


def _with_proof(reply: Reply, proof: bytes) -> Reply:
    headers = {**reply.headers, authcode.HEADER.lower(): authcode.format_header(proof)}
    return Reply(reply.status, reply.body, reply.content_type, headers)


async def _refused(
    ctx: Context, caller: Caller | None, error: Exception, request_id: str, origin: Any
) -> tuple[Reply, str | None, Exception | None]:
    """Record the refusal, and prove the answer if the request was authenticated and used only once."""
    reply, reason = problem_reply(error, request_id)
    try:
        recorded = isinstance(error, Refusal) and error.recorded
        if not recorded:
            broken = reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            repeated = await phone_recording.record_refused(ctx, caller, reason, origin, broken=broken)
            if repeated is not None and broken:  # used up by itself before something broke, or long before
                return reply, reason, error
            if repeated is not None:
                return problem_reply(repeated, request_id)[0], repeated.reason, None
        if caller is not None and reply.status != HTTPStatus.UNAUTHORIZED:
            reply = await _proved(ctx, caller, reply)
    except Exception as second:  # noqa: BLE001 - the database or the HSM went away while saying no
        return reply, f"{reason}; {type(second).__name__} while recording", error
    return reply, reason, error
