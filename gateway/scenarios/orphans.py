"""Which keys of users on the token does no row name, and how are they destroyed when an operator says so?

A row is written before its key is made and forgotten after its key is destroyed, so what no row names is nobody's work
in progress: a database was restored that is older than the token, or somebody wrote to the token.
"""

from functools import partial

from gateway.rules.event import EventType
from gateway.scenarios import inspection
from gateway.scenarios.context import Context
from gateway.scenarios.recording import SYSTEM, make_event, record
from hsm.keys import KeyRef


async def find_orphans(ctx: Context) -> tuple[str, ...]:
    """Return the names of keys of users that no row names. Reads the whole token and every row."""
    before = await ctx.in_store_thread(partial(inspection.read_rows, ctx.database))
    found = await ctx.on_device(ctx.device.user_keys)
    after = await ctx.in_store_thread(partial(inspection.read_rows, ctx.database))
    return inspection.compare(before, [key.uri() for key in found], after).orphans or ()


async def destroy_orphans(ctx: Context) -> tuple[str, ...]:
    """Destroy them, for ever, each with an event; return their names.

    Raises:
        hsm.errors.DeviceError: the token, or one of several, is away: what is left is found again by the next run.
    """
    orphans = await find_orphans(ctx)
    for uri in orphans:
        await ctx.on_device(ctx.device.destroy, KeyRef.parse(uri))
        event = make_event(
            EventType.KEY_DESTROYED,
            "destroyed",
            ctx.clock.now(),
            SYSTEM,
            reason="named by no row, on an operator's command",
            detail={"key": uri},
        )
        await ctx.unit(record, [event])
    return orphans
