"""What is kept and told of an authentication by content of the phone: a row, so that it serves once; a callback."""

from datetime import datetime
from typing import Any

from gateway.rules.callback import CallbackType
from gateway.rules.confirmation import Check
from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset
from gateway.scenarios.deliveries import enqueue
from gateway.scenarios.recording import Origin, make_event, record
from gateway.scenarios.representation import authentication_view
from gateway.scenarios.scored import Scored
from gateway.store import authentications, users
from gateway.store.applications import Application
from gateway.store.authentications import Authentication
from gateway.store.database import Connection
from gateway.store.events import Event
from gateway.wire.message import Message

CONFIRMED = "confirmed"


def kept_of(
    keyset: Keyset,
    message: Message,
    *,
    id: str,  # noqa: A002
    under: tuple[str, str],
    code: bytes,
    signature: bytes | None = None,
    verified: tuple[str, ...],
    device: dict[str, Any] | None = None,
    receipt: str,
    scored: Scored | None,
    created_at: datetime,
) -> Authentication:
    """Return what is kept of an authentication: all but the content; ``under`` is rule and channel."""
    rule, channel = under
    return Authentication(
        id=id,
        application_id=keyset.application_id,
        user_id=keyset.user_id,
        keyset_id=keyset.id,
        rule=rule,
        channel=channel,
        media_type=message.media_type,
        content_sha256=message.content_digest,
        message_sha256=message.digest(),
        step=message.step,
        code=code,
        signature=signature if Check.SIGNATURE in verified else None,
        verified=verified,
        device=device or {},
        receipt=receipt,
        scoring=scored.kept if scored else None,
        created_at=created_at,
    )


def keep(
    connection: Connection, application: Application, made: Authentication, origin: Origin
) -> Authentication:
    """Keep it, record it and tell the application; return the earlier one where the message has served already."""
    if authentications.insert_authentication(connection, made):
        # Not by a message that served already: who saw one pass could start the count anew with it.
        users.clear_failures(connection, application.id, made.user_id)
        record(connection, [_event(EventType.AUTHENTICATION_CONFIRMED, CONFIRMED, made, origin)])
        data = {"authentication": authentication_view(made), "receipt": made.receipt}
        enqueue(connection, application, CallbackType.AUTHENTICATION_CONFIRMED, data, made.created_at)
        return made
    earlier = authentications.find_by_message(connection, made.keyset_id, made.message_sha256)
    assert earlier is not None
    again = _event(EventType.AUTHENTICATION_REPEATED, "repeated", made, origin, served_as=earlier.id)
    record(connection, [again])
    return earlier


def refuse_by_score(
    connection: Connection, application: Application, made: Authentication, scored: Scored, origin: Origin
) -> None:
    """Record that right proofs are refused because too much speaks against them, and tell the application."""
    told = authentication_view(made)
    names = ("user", "rule", "channel", "keyset", "device", "scoring", "at")
    event = _event(
        EventType.AUTHENTICATION_REFUSED, "refused", made, origin, reason=scored.why, scoring=scored.kept
    )
    record(connection, [event])
    data = {name: told[name] for name in names}
    enqueue(connection, application, CallbackType.AUTHENTICATION_REFUSED, data, made.created_at)


def _event(
    type_: EventType,
    result: str,
    made: Authentication,
    origin: Origin,
    reason: str | None = None,
    **more: Any,
) -> Event:
    return make_event(
        type_,
        result,
        made.created_at,
        origin,
        reason=reason,
        application_id=made.application_id,
        user_id=made.user_id,
        keyset_id=made.keyset_id,
        detail={"authentication": made.id, "rule": made.rule, "device": made.device, **more},
    )
