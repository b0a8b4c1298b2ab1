"""How does an application decide flags and password rules for one user alone?

What the server can keep to is in force at once; the phone learns of all of it with its next list of what is pending,
and with its next package.
"""

from typing import Any

from gateway.refusals import Refusal
from gateway.rules import user as user_rules
from gateway.rules.event import EventType
from gateway.rules.user_settings import settings_from_json
from gateway.scenarios.access import Asker
from gateway.scenarios.context import Context
from gateway.scenarios.recording import Origin, make_event, record
from gateway.scenarios.user_lifecycle import fetch_user
from gateway.store import users
from gateway.store.database import Connection

_TRIES = 8


async def put_settings(
    ctx: Context, asker: Asker, user_id: str, values: dict[str, Any], origin: Origin
) -> dict[str, Any]:
    """Replace what is decided for the user alone and return the user; what is not named is as in the policy.

    Raises:
        Refusal: ``malformed_request``, ``not_found``, ``user_blocked``, ``user_deleted``, ``concurrent_change``.
    """
    settings = settings_from_json(values)
    for _ in range(_TRIES):
        if await ctx.unit(_write, ctx, asker, user_id, settings, origin):
            return await fetch_user(ctx, asker.application, user_id)
    raise Refusal("concurrent_change")


def _write(
    connection: Connection,
    ctx: Context,
    asker: Asker,
    user_id: str,
    settings: dict[str, Any],
    origin: Origin,
) -> bool:
    """Write the settings with their event; False if the user changed meanwhile. What changes nothing is no event."""
    user = users.find_user(connection, asker.application.id, user_id)
    if user is None:
        raise Refusal("not_found", "unknown user")
    user_rules.require_open(user, asker.application.policy.failures_most)
    before = dict(user.settings or {})
    if settings == before:
        return True
    if not users.change_settings(connection, user, settings):
        return False
    event = make_event(
        EventType.USER_SETTINGS_CHANGED,
        "changed",
        ctx.clock.now(),
        origin,
        application_id=user.application_id,
        user_id=user.user_id,
        detail={"settings": settings, "before": before},
    )
    record(connection, [event])
    return True
