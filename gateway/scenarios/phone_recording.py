"""What is written down when a phone's request is refused before its effect."""

from gateway.refusals import Refusal
from gateway.rules.event import EventType
from gateway.scenarios.authentication import Caller, record_ended
from gateway.scenarios.context import Context
from gateway.scenarios.phone_reading import admit
from gateway.scenarios.recording import Origin, make_event, record
from gateway.store.database import Connection


async def record_refused(
    ctx: Context, caller: Caller | None, reason: str, origin: Origin, *, broken: bool = False
) -> Refusal | None:
    """Record a refused request; an authenticated one is used up by it.

    Args:
        ctx: the parts.
        caller: who asked; None when that was not proved.
        reason: why it was refused, for the log.
        origin: where it came from.
        broken: something behind the door failed, so that a used request is no sign of a replay.

    Returns:
        The refusal of a repeat, when the request had been used before: its sender must not learn more than that.
    """
    try:
        await ctx.unit(_record, ctx, caller, reason, origin)
    except Refusal as repeated:
        if not broken:
            assert caller is not None
            await ctx.unit(record_ended, caller, ctx.clock.now(), repeated.reason)
        return repeated
    return None


def _record(connection: Connection, ctx: Context, caller: Caller | None, reason: str, origin: Origin) -> None:
    if caller is None:
        event = make_event(EventType.AUTHENTICATION_FAILED, "refused", ctx.clock.now(), origin, reason=reason)
        record(connection, [event])
    else:
        admit(connection, caller, result="refused", reason=reason)
