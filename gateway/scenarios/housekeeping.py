"""What happens without anybody asking: time-outs, lapsed keysets, loose keys, old marks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from gateway.refusals import Refusal
from gateway.rules import keyset as keyset_rules
from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset, KeysetAction
from gateway.rules.transaction import CancelReason, TransactionAction
from gateway.rules.user import User
from gateway.scenarios import bindings, keynames, settling
from gateway.scenarios.context import Context
from gateway.scenarios.recording import SYSTEM, make_event, record
from gateway.scenarios.uploads import sweep_uploads
from gateway.store import applications, guards, keysets, loose_keys, pushes, transactions, users
from gateway.store.database import Connection
from hsm.errors import InvalidUri, KeyElsewhere, KeyProtected
from hsm.keys import KeyRef

_log = structlog.get_logger("worker")
_BATCH = 100
_MARKS = 2000  # dropped in one unit, for which others wait
_UNITS_OF_MARKS = 50  # in one round, for which a stop waits
_ADOPTED_WITHIN = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class _Owner:
    """A keyset that names a key as its own, and whether answers were given with it."""

    keyset: Keyset
    user: User
    answered: bool


async def expire_transactions(ctx: Context) -> int:
    """Cancel pending transactions whose time is over; return how many."""
    expired = await ctx.reading(transactions.expired_transactions, ctx.clock.now(), _BATCH)
    ended = 0
    for transaction in expired:
        try:
            await ctx.unit(_expire, ctx, transaction.application_id, transaction.id)
        except Refusal as refusal:
            _log.error("a policy cannot be read", application=transaction.application_id, why=refusal.reason)
            continue
        ctx.waiters.wake(transaction.id)
        ended += 1
    return ended


def _expire(connection: Connection, ctx: Context, application_id: str, transaction_id: str) -> None:
    application = applications.find_application(connection, application_id)
    assert application is not None
    settling.cancel(
        connection,
        application,
        transaction_id,
        TransactionAction.EXPIRE,
        CancelReason.TIMEOUT,
        SYSTEM,
        ctx.clock.now(),
    )


async def lapse_keysets(ctx: Context) -> int:
    """End issued keysets that no phone registered in time; return how many."""
    lapsed = await ctx.reading(keysets.lapsed_keysets, ctx.clock.now(), _BATCH)
    for keyset in lapsed:
        user = await ctx.reading(users.find_user, keyset.application_id, keyset.user_id)
        assert user is not None
        answered = await ctx.reading(transactions.was_used, keyset.id)
        bound, changed = await ctx.on_device(_lapse, ctx, keyset, user, answered=answered)
        await ctx.unit(_write_lapse, ctx, user, keyset, changed, bound=bound, answered=answered)
    return len(lapsed)


def _lapse(ctx: Context, keyset: Keyset, user: User, *, answered: bool) -> tuple[bool, Keyset]:
    """Return whether the HSM vouches for the keyset, and how it ends."""
    ended = replace(
        keyset,
        status=keyset_rules.next_status(keyset.status, KeysetAction.LAPSE),
        lapses_at=None,
        ended_at=ctx.clock.now(),
    )
    if not bindings.is_bound(ctx, keyset, user.status):
        return False, ended  # keeps the MAC that does not fit: a broken row stays broken
    return True, bindings.bind(ctx, keynames.without_spent(ctx, ended, answered=answered), user.status)


def _write_lapse(
    connection: Connection,
    ctx: Context,
    user: User,
    seen: Keyset,
    changed: Keyset,
    *,
    bound: bool,
    answered: bool,
) -> None:
    """End the keyset. A row the HSM did not vouch for ends too, so that it is met once; its keys stay."""
    # The user's row first: whoever keeps an answer has it locked.
    if not users.raise_version(connection, user) or transactions.was_used(connection, seen.id) != answered:
        return  # changed meanwhile; the next round looks again
    if not keysets.change_keyset(connection, seen, changed):
        return
    now = ctx.clock.now()
    if not bound:
        record(connection, [bindings.alarm(seen, now, SYSTEM)])
        return
    spent = keynames.on_token(keyset_rules.spent_keys(changed, answered=answered))
    loose_keys.doom_keys(connection, spent, seen.id, now)
    event = make_event(
        EventType.KEYSET_ENDED,
        "lapsed",
        now,
        SYSTEM,
        reason="not registered in time",
        application_id=seen.application_id,
        user_id=seen.user_id,
        keyset_id=seen.id,
    )
    record(connection, [event])


async def sweep_keys(ctx: Context) -> int:
    """Destroy on the token what no keyset needs: never adopted, or of a keyset that ended. Return how many."""
    now = ctx.clock.now()
    await ctx.unit(loose_keys.doom_forgotten, now - _ADOPTED_WITHIN, now)
    doomed = await ctx.reading(loose_keys.doomed_keys, _BATCH)
    away: KeyElsewhere | None = None
    for uri, keyset_id in doomed:
        owners = await ctx.reading(_owners, uri)
        try:
            refused = await ctx.on_device(_destroy, ctx, uri, owners)
        except KeyElsewhere as error:
            # One of several tokens is away: the row stays until that one has destroyed the key too.
            away = error
            continue
        await ctx.unit(_forget, ctx, uri, keyset_id, owners if refused else (), refused)
    if away is not None:
        raise away
    return len(doomed)


def _owners(connection: Connection, uri: str) -> list[_Owner]:
    """Return the keysets that name the key, however the row of the key spells it."""
    try:
        plain = KeyRef.parse(uri).uri()
    except InvalidUri:
        return []
    owners = []
    for keyset in keysets.keysets_naming(connection, plain):
        user = users.find_user(connection, keyset.application_id, keyset.user_id)
        assert user is not None
        owners.append(_Owner(keyset, user, transactions.was_used(connection, keyset.id)))
    return owners


def _destroy(ctx: Context, uri: str, owners: Sequence[_Owner]) -> str | None:
    """Destroy the key, or say why nobody who is honest would have written this row."""
    try:
        key = KeyRef.parse(uri)
        for owner in owners:
            if not bindings.is_bound(ctx, owner.keyset, owner.user.status):
                return "named by a keyset that is not the one the HSM vouched for"
            if key.uri() not in keyset_rules.spent_keys(owner.keyset, answered=owner.answered):
                return "a keyset needs the key"
        ctx.device.destroy(key)
    except (InvalidUri, KeyProtected) as error:
        return str(error)
    return None


def _forget(
    connection: Connection,
    ctx: Context,
    uri: str,
    keyset_id: str,
    owners: Sequence[_Owner],
    refused: str | None,
) -> None:
    if not loose_keys.forget_key(connection, uri):
        return  # another worker swept the key as well, and has told of it
    event = make_event(
        EventType.BINDING_BROKEN if refused else EventType.KEY_DESTROYED,
        "alarm" if refused else "destroyed",
        ctx.clock.now(),
        SYSTEM,
        reason=refused,
        detail={"key": uri},
        **_subject(keyset_id, owners),
    )
    record(connection, [event])


def _subject(keyset_id: str, owners: Sequence[_Owner]) -> dict[str, str]:
    """Return whom the event is about: who owns the key, whatever the row of the key says."""
    if not owners:
        return {"keyset_id": keyset_id}
    keyset = owners[0].keyset
    return {"application_id": keyset.application_id, "user_id": keyset.user_id, "keyset_id": keyset.id}


async def forget_old_marks(ctx: Context) -> None:
    """Drop codes, idempotency keys, pushes and unused content that are over, and fold the database's log."""
    for _ in range(_UNITS_OF_MARKS):
        if not await ctx.unit(guards.forget_expired, ctx.clock.now(), _MARKS):
            break
    await ctx.unit(pushes.forget_expired, ctx.clock.now())
    await sweep_uploads(ctx)
    await ctx.in_store_thread(ctx.database.tidy)
