"""What may a phone see and change without proofs: its pending transactions, their content, its push address."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.refusals import Refusal
from gateway.rules import transaction as rules
from gateway.rules.event import EventType
from gateway.rules.transaction import Transaction
from gateway.scenarios.authentication import Caller, record_ended, require_unchanged
from gateway.scenarios.change_watch import pending_topic, watched
from gateway.scenarios.context import Context
from gateway.scenarios.packaging import package_policy
from gateway.scenarios.recording import make_event, record, use_request
from gateway.scenarios.representation import pending_view
from gateway.store import devices, transactions, users
from gateway.store.database import Connection
from gateway.store.events import Event
from gateway.wire import base64s
from gateway.wire.bodies import Content, DeviceUpdate, Get, Pending

PENDING, GET, CONTENT = "transactions.pending", "transactions.get", "transactions.content"


def admit(
    connection: Connection,
    caller: Caller,
    *,
    result: str = "done",
    reason: str | None = None,
    transaction_id: str | None = None,
) -> None:
    """Mark the request as used and record it, in the unit of its effect."""
    use_request(connection, caller.keyset.id, caller.authcode, caller.now)
    record(connection, [request_event(caller, result, reason=reason, transaction_id=transaction_id)])


def request_event(
    caller: Caller, result: str = "done", *, reason: str | None = None, transaction_id: str | None = None
) -> Event:
    """Return the line that tells of a request."""
    return make_event(
        EventType.REQUEST,
        result,
        caller.now,
        caller.origin,
        reason=reason,
        transaction_id=transaction_id,
        detail={"device": caller.envelope.device},
        **caller.subject,
    )


async def list_pending(ctx: Context, caller: Caller) -> dict[str, Any]:
    """Return ``transactions`` that wait for the user, and ``policy``; waits for the first if asked to."""
    admitted = False

    async def look() -> Sequence[Transaction]:
        nonlocal admitted
        if admitted:
            return await ctx.reading(_pending, caller, ctx.clock.now())
        found = await ctx.unit(_admit_and_look, caller)
        admitted = True
        return found

    try:
        found = await _waited(ctx, caller, look)
    except Refusal as refusal:
        if admitted:
            await _record_ended(ctx, caller, refusal)
        raise
    return pending_list(caller, found)


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment, after which nothing is to be missed: how many wakes there were, and what watched other processes."""

    wakes: int
    watch: object | None

    @classmethod
    def now(cls, ctx: Context) -> "Mark":
        """Return this moment's."""
        return cls(ctx.waiters.wakes, ctx.changes.run)

    def may_have_missed(self, ctx: Context, topic: str) -> bool:
        """Say whether the topic may have changed since, for who is woken from now on."""
        was_watched = self.watch is not None and self.watch is ctx.changes.run
        return not was_watched or ctx.waiters.was_woken(topic, self.wakes)


async def pending_after(ctx: Context, caller: Caller, mark: Mark) -> dict[str, Any] | None:
    """Return the list for a phone that was admitted when there was nothing; None if there is still nothing.

    Args:
        ctx: the parts.
        caller: who was admitted, together with others.
        mark: a moment before that.
    """
    is_first = True

    async def look() -> Sequence[Transaction]:
        nonlocal is_first
        was_first, is_first = is_first, False
        if was_first and not mark.may_have_missed(ctx, _topic(caller)):
            return []
        return await ctx.reading(_pending, caller, ctx.clock.now())

    try:
        found = await _waited(ctx, caller, look)
    except Refusal as refusal:
        await _record_ended(ctx, caller, refusal)
        raise
    return pending_list(caller, found) if found else None


async def _waited(
    ctx: Context, caller: Caller, look: Callable[[], Awaitable[Sequence[Transaction]]]
) -> Sequence[Transaction]:
    body = Pending.read(caller.envelope.body)
    return await watched(ctx, _topic(caller), body.wait, look, bool, looks_at_end=False)


def _topic(caller: Caller) -> str:
    return pending_topic(caller.application.id, caller.user.user_id)


async def _record_ended(ctx: Context, caller: Caller, refusal: Refusal) -> None:
    # The request is used up already, so it must not be taken for a repeat.
    await ctx.unit(record_ended, caller, ctx.clock.now(), refusal.reason)
    refusal.recorded = True


def pending_list(caller: Caller, found: Sequence[Transaction]) -> dict[str, Any]:
    """Return what a phone is told of what waits."""
    policy = package_policy(caller.policy, caller.keyset.step_seconds, caller.keyset.digits).encode()
    return {
        "transactions": [pending_view(each, caller.policy) for each in found],
        "policy": base64s.encode(policy),
    }


def _admit_and_look(connection: Connection, caller: Caller) -> Sequence[Transaction]:
    admit(connection, caller)
    return _pending(connection, caller, caller.now)


def _pending(connection: Connection, caller: Caller, now: datetime) -> Sequence[Transaction]:
    """Return what waits, for as long as the phone may see it: it may be replaced or blocked while it waits."""
    application_id, user_id = caller.application.id, caller.user.user_id
    require_unchanged(connection, caller, users.find_user(connection, application_id, user_id), now)
    who = application_id, user_id
    return waiting_of(connection, {who}, now)[who]


def waiting_of(
    connection: Connection, ids: Collection[tuple[str, str]], now: datetime
) -> dict[tuple[str, str], list[Transaction]]:
    """Return what lists tell of each of these (application, user)."""
    return transactions.pending_transactions(connection, ids, now, rules.WAITING_MOST)


async def get_transaction(ctx: Context, caller: Caller) -> dict[str, Any]:
    """Return what the phone shows of one transaction."""
    body = Get.read(caller.envelope.body)
    return pending_view(await ctx.unit(_open_transaction, caller, body.transaction), caller.policy)


def _open_transaction(connection: Connection, caller: Caller, transaction_id: str) -> Transaction:
    transaction = transactions.find_transaction(connection, caller.application.id, transaction_id)
    if transaction is None or transaction.user_id != caller.user.user_id:
        raise Refusal("not_found", "no such transaction of this user")
    if not rules.is_open(transaction, caller.now):
        raise Refusal("transaction_settled", f"the transaction is {transaction.status} or expired")
    admit(connection, caller, transaction_id=transaction_id)
    return transaction


async def read_content(ctx: Context, caller: Caller) -> bytes:
    """Return a part of the content: raw bytes from the offset, fewer at the end."""
    body = Content.read(caller.envelope.body)
    return await ctx.unit(_read_part, caller, body)


def _read_part(connection: Connection, caller: Caller, body: Content) -> bytes:
    transaction = _open_transaction(connection, caller, body.transaction)
    if body.offset >= max(transaction.size, 1):
        raise Refusal(
            "malformed_request", "offset beyond the content", detail="The offset is beyond the content."
        )
    return transactions.read_content(connection, transaction.id, body.offset, body.length)


async def update_device(ctx: Context, caller: Caller) -> dict[str, Any]:
    """Replace where the device can be woken up; return ``device``."""
    body = DeviceUpdate.read(caller.envelope.body)
    if caller.keyset.device_id is None or caller.keyset.registered_at is None:
        raise Refusal("keyset_not_open", "no device is registered")
    await ctx.unit(_update_device, caller, caller.keyset.device_id, body)
    return {"device": caller.keyset.device_id}


def _update_device(connection: Connection, caller: Caller, device_id: str, body: DeviceUpdate) -> None:
    admit(connection, caller)
    push = body.push
    devices.change_push(
        connection, device_id, push.provider if push else None, push.identifier if push else None
    )
