"""What does a request bring along: its id, its body under a limit, where it came from."""

import asyncio
import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gateway.api.problems import Reply
from gateway.clock import Clock
from gateway.ids import new_id
from gateway.refusals import Refusal
from gateway.scenarios.recording import Origin
from gateway.wire import authcode
from gateway.wire.errors import WireError

_ADDRESS_MOST = 64
_BODY_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Peers:
    """Addresses of proxies whose word about the caller's address is believed."""

    trusted: frozenset[str]

    @classmethod
    def named(cls, trusted: Iterable[str]) -> "Peers":
        """Return the peers of addresses in whatever spelling."""
        return cls(frozenset(map(plain_address, trusted)))

    def address_of(self, request: Request) -> str | None:
        """Return the address of the caller; behind a trusted proxy the last one it added."""
        peer = plain_address(request.client.host) if request.client else None
        if peer in self.trusted:
            # Proxies append to the line or add one of their own: the last word is the proxy's in both cases.
            lines = request.headers.getlist("x-forwarded-for") or [""]
            forwarded = lines[-1].rpartition(",")[2].strip()
            return plain_address((forwarded or peer)[:_ADDRESS_MOST])
        return peer


def plain_address(address: str) -> str:
    """Return an address in its one normal spelling, and a text that is no address unchanged.

    A socket that listens on IPv6 and IPv4 alike gives an IPv4 address inside an IPv6 one. Left so, all of IPv4 would
    seem to be one network: one caller who keeps failing would close the door to everybody.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(getattr(ip, "ipv4_mapped", None) or ip)


def new_request_id(clock: Clock) -> str:
    """Return an id for a request; it stands in the log, the events and the answer."""
    return new_id("req", clock.now())


async def read_body(request: Request, most_bytes: int) -> bytes:
    """Return the body, read once and never beyond the limit.

    Raises:
        Refusal: ``too_large``, ``too_slow``, ``unsupported_media_type`` for an encoded body,
            ``malformed_request`` when the caller went away.
    """
    declared_bytes(request, most_bytes)
    parts, size = [], 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > most_bytes:
                    raise too_large(most_bytes)
                parts.append(part)
    except TimeoutError:
        raise Refusal("too_slow", detail=f"A body comes within {_BODY_SECONDS} seconds.") from None
    except ClientDisconnect:
        raise Refusal("malformed_request", "the caller went away") from None
    return b"".join(parts)


def declared_bytes(request: Request, most_bytes: int) -> int | None:
    """Return what Content-Length says, None if it says nothing; refuse an encoded body, or one beyond the limit."""
    if request.headers.get("content-encoding"):
        raise Refusal("unsupported_media_type", "Content-Encoding")
    if request.headers.get(
        "transfer-encoding"
    ):  # a Content-Length beside it is a word, which the server ignores
        return None
    declared = request.headers.get("content-length")
    if declared is not None and (not declared.isdecimal() or int(declared) > most_bytes):
        raise too_large(most_bytes)
    return None if declared is None else int(declared)


def too_large(most_bytes: int) -> Refusal:
    """Return the refusal of a body beyond the limit."""
    return Refusal("too_large", detail=f"A request has at most {most_bytes} bytes here.")


def require_json(request: Request) -> None:
    """Refuse a body that does not call itself JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Refusal("unsupported_media_type", "Content-Type is not application/json")


def shown_authcode(request: Request) -> bytes | None:
    """Return the authentication code that a phone's request shows; None if it has no valid header."""
    try:
        return authcode.parse_header(request.headers.getlist(authcode.HEADER))
    except WireError:
        return None


def make_origin(
    request_id: str, action: str, address: str | None, raw: bytes | None, shown: bytes | None = None
) -> Origin:
    """Return where a request came from, as the events keep it: the hash of the body, never the body."""
    digest = None if raw is None else hashlib.sha256(raw).digest()
    return Origin(request_id=request_id, action=action, address=address, body_sha256=digest, authcode=shown)


def send(reply: Reply, request_id: str) -> Response:
    """Return the answer as Starlette sends it; nothing on the way may keep or change it."""
    headers = {
        "cache-control": "no-store, no-transform",
        "x-content-type-options": "nosniff",
        "request-id": request_id,
        **reply.headers,
        # Given as a header and not as media_type, so that no charset is added: the proof covers this value.
        "content-type": reply.content_type,
    }
    if reply.respond is not None:
        return reply.respond(headers)
    return Response(reply.body, status_code=reply.status, headers=headers)
