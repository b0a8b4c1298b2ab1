"""Who wakes those that wait for what another process changes: one look at the event log for all of them.

While somebody waits in this process, one task reads which users and transactions the log tells something new about, and
wakes who waits for them. A thousand phones that wait cost the database as much as one: each looks when it is woken, and
some once more when their time is over.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import structlog

from gateway.refusals import Outage
from gateway.scenarios.fair_share import nobodys
from gateway.scenarios.store_access import StoreAccess
from gateway.scenarios.waiting import LOOK_SECONDS, Waiters
from gateway.store import events

if TYPE_CHECKING:  # a context has such a watch
    from gateway.scenarios.context import Context

T = TypeVar("T")

_LINES_PER_LOOK = 1000
_AFTER_OUTAGE_SECONDS = 2.0

_log = structlog.get_logger("gateway")


def pending_topic(application_id: str, user_id: str) -> str:
    """Name what changes when something happens to a user or to what waits for them."""
    return f"pending {application_id} {user_id}"


async def watched(
    ctx: "Context",
    topic: str,
    seconds: float,
    look: Callable[[], Awaitable[T]],
    done: Callable[[T], bool],
    *,
    looks_at_end: bool = True,
) -> T:
    """Look until it is done or the time is over, woken by whatever process changes what the topic names.

    The arguments are those of ``Waiters.until``.
    """
    if not seconds:
        return await ctx.waiters.until(topic, 0, look, done)
    async with ctx.changes.on():
        return await ctx.waiters.until(
            topic, seconds, look, done, look_seconds=seconds, looks_at_end=looks_at_end
        )


class ChangeWatch:
    """The one task of this process."""

    def __init__(self, access: StoreAccess, waiters: Waiters, look_seconds: float = LOOK_SECONDS) -> None:
        self._access, self._waiters, self._look_seconds = access, waiters, look_seconds
        self._through = 0
        self._waiting = 0
        self._task: asyncio.Task[None] | None = None
        self._beginning = asyncio.Lock()

    @property
    def run(self) -> asyncio.Task[None] | None:
        """What watches now; None if nothing does. While it is the same, nothing was missed."""
        return self._task if self._runs() else None

    @asynccontextmanager
    async def on(self) -> AsyncIterator[None]:
        """Watch for as long as the block lasts. Whatever is changed after it was entered wakes who waits in it."""
        self._waiting += 1
        try:
            await self._begin()
            yield
        finally:
            self._waiting -= 1
            if not self._waiting and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _begin(self) -> None:
        async with self._beginning:  # of many that come at once, one reads how far the log is
            if self._runs():
                return
            horizon = await self._access.reading(events.horizon)
            self._through = horizon.complete
            self._task = asyncio.create_task(self._look_again_and_again(), context=nobodys())

    def _runs(self) -> bool:
        return self._task is not None and not self._task.done()

    async def _look_again_and_again(self) -> None:
        pause = self._look_seconds
        try:
            while True:
                await asyncio.sleep(pause)
                try:
                    pause = 0.0 if await self._look() else self._look_seconds
                except Outage:
                    # Nothing is missed meanwhile. If all processes looked at once, it would get worse.
                    pause = _AFTER_OUTAGE_SECONDS
        except Exception:  # noqa: BLE001 - a bug: they find out for themselves, once
            _log.exception("changes are not watched")
            self._waiters.wake_all()

    async def _look(self) -> bool:
        """Wake whom something new is about; say whether there is more."""
        horizon = await self._access.reading(events.horizon)
        if horizon.complete <= self._through:
            return False
        lines = await self._access.reading(
            events.subjects, after=self._through, through=horizon.complete, limit=_LINES_PER_LOOK
        )
        for _, application_id, user_id, transaction_id in lines:
            if transaction_id is not None:
                self._waiters.wake(transaction_id)
            if application_id is not None and user_id is not None:
                self._waiters.wake(pending_topic(application_id, user_id))
        is_full = len(lines) == _LINES_PER_LOOK
        self._through = lines[-1][0] if is_full else horizon.complete
        return is_full
