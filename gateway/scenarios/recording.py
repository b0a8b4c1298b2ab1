"""What is written down about a request: events with their origin, and the mark that a request was used."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gateway.ids import new_id
from gateway.refusals import Refusal
from gateway.rules.event import EventType
from gateway.rules.policy import BOUNDS
from gateway.store import events, guards
from gateway.store.database import Connection
from gateway.store.events import Event

_REASON_MOST = 500
_USED_KEPT = timedelta(seconds=2 * BOUNDS["request_window_seconds"][1] + 60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a request came from: its id, its action, the address, the hash of its body, the code it showed."""

    request_id: str
    action: str
    address: str | None = None
    body_sha256: bytes | None = None
    authcode: bytes | None = None


SYSTEM = Origin(request_id="", action="worker")


def make_event(type_: EventType, result: str, now: datetime, origin: Origin, **subject: Any) -> Event:
    """Make a line of the log.

    Args:
        type_: what happened.
        result: how it went, one word.
        now: when.
        origin: which request brought it about.
        subject: ids it is about (``application_id``, ``user_id``, ...), ``reason`` and ``detail``.
    """
    reason = subject.pop("reason", None)
    return Event(
        id=new_id("evt", now),
        type=type_,
        result=result,
        reason=None if reason is None else str(reason)[:_REASON_MOST],
        action=origin.action,
        address=origin.address,
        body_sha256=origin.body_sha256,
        authcode=origin.authcode,
        request_id=origin.request_id or None,
        created_at=now,
        **subject,
    )


def record(connection: Connection, lines: Iterable[Event]) -> None:
    """Append events inside the unit that brings them about."""
    events.append_events(connection, list(lines))


def use_request(connection: Connection, keyset_id: str, authcode: bytes, now: datetime) -> None:
    """Mark the request as used, in the unit of its effect.

    It is kept for more than twice the widest window any policy may have: who widens the window later does not make
    an old request fit into it again.

    Raises:
        Refusal: it was used before, here or in another process; looks like any failed authentication.
    """
    if not use_requests(connection, [(keyset_id, authcode)], now):
        raise Refusal("authentication_failed", "replayed request")


def use_requests(
    connection: Connection, requests: Sequence[tuple[str, bytes]], now: datetime
) -> set[tuple[str, bytes]]:
    """Mark requests, each named by keyset and code, as used; return those that were not used before."""
    return guards.use_authcodes(connection, requests, now + _USED_KEPT)
