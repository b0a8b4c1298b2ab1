"""How is a phone woken: claimed, asked of its push service, tried a few times while something waits for it.

A push is best effort: the phone asks by itself as well. No address of a phone gets into a log.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from gateway.measures import count_push
from gateway.rules.event import EventType
from gateway.rules.push import (
    CLAIM_SECONDS,
    RUNNING_PER_PROVIDER,
    SECONDS_MOST,
    PushProvider,
    lifetime_seconds,
    pause_after,
)
from gateway.scenarios.recording import SYSTEM, make_event, record
from gateway.scenarios.store_access import StoreAccess
from gateway.store import pushes
from gateway.store.database import Connection
from gateway.store.pushes import Push
from gateway.worker.posting import reason_of
from gateway.worker.push.provider import AddressGone, NotWoken, Provider
from gateway.worker.tries import Tries

_log = structlog.get_logger("worker")

Providers = Mapping[PushProvider, Provider]


class Waker:
    """Keeps tries under way, so many of each push service that none holds up the others, nor the callbacks."""

    def __init__(self, ctx: StoreAccess, providers: Providers, seconds_most: float = SECONDS_MOST) -> None:
        self._ctx, self._providers, self._seconds_most = ctx, providers, seconds_most
        self.tries = Tries()

    async def start_due(self) -> int:
        """Claim what is due and begin a try of each; return how many.

        Raises what a try failed with that was not the push service's fault: an outage, or a bug.
        """
        self.tries.raise_failure()
        if not self._providers:
            return 0
        until = self._ctx.clock.now() + timedelta(seconds=CLAIM_SECONDS + self._seconds_most)
        claimed = await self._claim(until)
        for push in claimed:
            self.tries.begin(push.provider, self._try(push))
        return len(claimed)

    async def close(self) -> None:
        """Wait for the tries under way and close the connections."""
        try:
            await self.tries.finish()
        finally:
            for provider in self._providers.values():
                await provider.close()

    async def _claim(self, until: datetime) -> list[Push]:
        now, busy = self._ctx.clock.now(), self.tries.busy()
        due = await self._ctx.reading(pushes.due_providers, now)
        room = {
            provider: RUNNING_PER_PROVIDER - busy[provider] for provider in self._providers if provider in due
        }
        room = {provider: most for provider, most in room.items() if most > 0}
        return await self._ctx.unit(pushes.claim_pushes, now, until, room) if room else []

    async def _try(self, push: Push) -> None:
        now = self._ctx.clock.now()
        until = await self._ctx.reading(pushes.waits_until, push, now)
        if until is None:  # settled meanwhile
            await self._ctx.unit(pushes.end_push, push)
            return
        try:
            await self._wake(push, lifetime_seconds(now, until))
        except AddressGone as gone:
            await self._ctx.unit(_drop, self._ctx, push, str(gone))
            self._tell(push, "gone", str(gone))
        except NotWoken as error:
            next_at = _next_at(push, error, self._ctx.clock.now(), until)
            await self._ctx.unit(_note_failure, push, next_at)
            self._tell(push, "given_up" if next_at is None else "failed", str(error))
        else:
            await self._ctx.unit(pushes.end_push, push)
            count_push(push.provider, "ok")

    async def _wake(self, push: Push, seconds: int) -> None:
        try:
            async with asyncio.timeout(self._seconds_most):
                await self._providers[PushProvider(push.provider)].wake(push.push_id, seconds)
        except (AddressGone, NotWoken):
            raise
        except TimeoutError:
            raise NotWoken("no answer in time") from None
        except Exception as error:  # noqa: BLE001 - whatever a push service brings about counts as a try
            raise NotWoken(f"no connection: {reason_of(error)}") from None

    def _tell(self, push: Push, outcome: str, why: str) -> None:
        count_push(push.provider, outcome)
        _log.warning(
            "phone not woken", device=push.device_id, provider=push.provider, outcome=outcome, why=why
        )


def _next_at(push: Push, error: NotWoken, now: datetime, until: datetime) -> datetime | None:
    """Return when to try again; None where it is no use, or too late."""
    pause = None if error.final else pause_after(push.tries + 1, error.pause_seconds)
    return now + pause if pause is not None and now + pause < until else None


def _note_failure(connection: Connection, push: Push, next_at: datetime | None) -> None:
    if next_at is None:
        pushes.end_push(connection, push)
    else:
        pushes.postpone_push(connection, push, next_at)


def _drop(connection: Connection, ctx: StoreAccess, push: Push, why: str) -> None:
    """Forget the address, unless the phone gave another one meanwhile; that one is woken next."""
    if not pushes.drop_push_address(connection, push):
        pushes.postpone_push(connection, push, ctx.clock.now())
        return
    pushes.end_push(connection, push)
    event = make_event(
        EventType.PUSH_ADDRESS_DROPPED,
        "dropped",
        ctx.clock.now(),
        SYSTEM,
        reason=why,
        application_id=push.application_id,
        user_id=push.user_id,
        detail={"device": push.device_id, "provider": push.provider},
    )
    record(connection, [event])
