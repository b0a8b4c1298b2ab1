"""What does a request get that no route takes: the same kind of answer as any other refusal."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.problems import Reply, problem_reply
from gateway.api.recorder import RequestLine
from gateway.api.requests import Peers, make_origin, new_request_id, send, shown_authcode
from gateway.api.throttle import Throttle
from gateway.refusals import Outage, Refusal
from gateway.scenarios.context import Context
from gateway.scenarios.phone_recording import record_refused
from gateway.scenarios.recording import Origin

_CODES = {404: "not_found", 405: "method_not_allowed"}
_ROUTE = "no route"
_NO_CALL = "There is no call at this path: the OpenAPI document of this door has them all. No path ends with a slash."


def fallback_handlers(
    ctx: Context, peers: Peers, throttle: Throttle, door: str
) -> dict[Any, Callable[..., Awaitable[Response]]]:
    """Return the handlers of unknown routes and wrong methods; the answer names nothing of what was sent."""

    async def handle(request: Request, error: HTTPException) -> Response:
        request_id = new_request_id(ctx.clock)
        address = peers.address_of(request)
        line = RequestLine(door, request_id, request.method[:16], _ROUTE, address)
        refusal = _refusal(throttle, address, error.status_code)
        reply, reason = problem_reply(refusal, request_id)
        reply = Reply(
            reply.status, reply.body, reply.content_type, {**reply.headers, **(error.headers or {})}
        )
        throttle.count(address)
        if door == "client" and refusal.problem.code != "too_many_failures":
            # What is refused by its address alone is not read, so no hash of its body is kept.
            origin = make_origin(request_id, "unknown", address, None, shown_authcode(request))
            reason = await _record(ctx, origin, reason)
        line.finish(reply, reason)
        return send(reply, request_id)

    return dict.fromkeys(_CODES, handle)


def _refusal(throttle: Throttle, address: str | None, status: int) -> Refusal:
    try:
        throttle.require_open(address)
    except Refusal as refusal:
        return refusal
    return Refusal(_CODES[status], _ROUTE, detail=_NO_CALL if status == HTTPStatus.NOT_FOUND else None)


async def _record(ctx: Context, origin: Origin, reason: str) -> str:
    try:
        await record_refused(ctx, None, "unknown action", origin)
    except Outage as outage:
        return f"{reason}; {outage}"
    return reason
