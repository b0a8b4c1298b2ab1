"""How do transactions come to be: those that are asked for together in one turn at the device and one unit?

What is refused, repeated or odd about one of them is nobody else's matter.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from gateway.refusals import Refusal
from gateway.rules import user as user_rules
from gateway.rules.event import EventType
from gateway.rules.transaction import Transaction
from gateway.rules.user import User
from gateway.scenarios import bindings, settling
from gateway.scenarios.access import Asker
from gateway.scenarios.change_watch import pending_topic
from gateway.scenarios.context import Context
from gateway.scenarios.drafting import Wish, draft_transaction
from gateway.scenarios.idempotency import Once, claim, claim_all, take_back
from gateway.scenarios.pending_room import why_no_room
from gateway.scenarios.recording import Origin, make_event, record
from gateway.scenarios.representation import created_view
from gateway.scenarios.transactions import load_transaction
from gateway.scenarios.uploads import no_such_content, require_vouched
from gateway.store import keysets, pushes, transactions, uploads, users
from gateway.store.database import Connection
from gateway.store.events import Event
from gateway.store.uploads import Upload
from gateway.store.waiting import count_waiting
from hsm.errors import DeviceUnavailable

SMALL_BYTES = 64 * 1024  # of content; who brings more is to keep nobody waiting
_MOST, _AT_ONCE = 32, 1  # transactions that are made together, and such groups


@dataclass(frozen=True, slots=True)
class _Draft:
    """A transaction that may be made, what is to be confirmed, and who asks for it."""

    asker: Asker
    transaction: Transaction
    content: bytes | Upload
    once: Once
    origin: Origin

    @property
    def user(self) -> tuple[str, str]:
        """Whom it is for: application and user."""
        return self.asker.application.id, self.transaction.user_id


_Created = tuple[dict[str, Any], bool]  # the view, and whether it is new


async def create_transaction(
    ctx: Context, asker: Asker, wish: Wish, once: Once, origin: Origin
) -> tuple[dict[str, Any], bool]:
    """Create a transaction and return its view, and whether it is new (False: the answer is repeated).

    Raises:
        Refusal: ``not_found``, ``user_blocked``, ``user_deleted``, ``no_active_keys``, ``not_allowed_by_policy``,
            ``too_many_pending``, ``idempotency_mismatch``, ``integrity_failure``.
    """
    upload: Upload | None = None
    if wish.content_id is not None:
        upload = await ctx.reading(
            uploads.find_upload, asker.application.id, wish.content_id, ctx.clock.now()
        )
        if upload is None:
            return await ctx.unit(_repeat, ctx, asker, once, no_such_content())
    is_small = len(wish.content) <= SMALL_BYTES
    try:
        drafting = partial(draft_transaction, ctx, asker.application, wish, upload)
        transaction = drafting() if is_small else await asyncio.to_thread(drafting)  # it hashes the content
    except Refusal as refused:
        return await ctx.unit(_repeat, ctx, asker, once, refused)
    draft = _Draft(asker, transaction, upload or wish.content, once, origin)
    if is_small and upload is None:
        created = await ctx.room(_create_together, _MOST, _AT_ONCE).ask(draft)
    else:
        created = None
    if created is None:
        created = await _create_alone(ctx, draft)
    ctx.waiters.wake(pending_topic(*draft.user))
    return created


def _repeat(
    connection: Connection, ctx: Context, asker: Asker, once: Once, refused: Refusal
) -> tuple[dict[str, Any], bool]:
    """Return the transaction that an earlier request under the key made, which it may not make now, or refuse.

    Whoever lost the answer must not be told that there is no such transaction, whatever was decided meanwhile.
    """
    earlier = claim(connection, asker, once, ctx.clock.now())
    if earlier is None:
        raise refused
    return created_view(load_transaction(connection, asker, earlier)), False


async def _create_alone(ctx: Context, draft: _Draft) -> _Created:
    (created,) = await ctx.in_store_thread(partial(_create_here, ctx, [draft], waits=True))
    if isinstance(created, Exception):
        raise created
    assert created is not None
    return created


async def _create_together(ctx: Context, drafts: list[_Draft]) -> list[_Created | Exception | None]:
    """Have the HSM bind all of them, and write them in one unit.

    Returns for each what came of it; None where it has to be asked by itself, because it would keep others waiting.
    """
    return await ctx.in_store_thread(partial(_create_here, ctx, drafts, waits=False))


def _create_here(ctx: Context, drafts: list[_Draft], *, waits: bool) -> list[_Created | Exception | None]:
    try:
        bound = ctx.in_turns("creating", _bind, drafts)
    except DeviceUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - it is told to whom it concerns
        return [error] if len(drafts) == 1 else [None] * len(drafts)
    first = _without_doubles(bound)
    written = iter(ctx.unit_of_all_here(partial(_write_all, ctx, waits=waits), list(first.values())))
    return [next(written) if number in first else None for number in range(len(bound))]


def _bind(ctx: Context, draft: _Draft) -> _Draft:
    if isinstance(draft.content, Upload):
        require_vouched(ctx, draft.content)
    return replace(draft, transaction=bindings.bind_transaction(ctx, draft.transaction))


def _without_doubles(drafts: Sequence[_Draft]) -> dict[int, _Draft]:
    """Return by their numbers those that can be written in one unit: of each idempotency key only the first."""
    seen: set[tuple[str, str]] = set()
    first: dict[int, _Draft] = {}
    for number, each in enumerate(drafts):
        key = None if each.once.key is None else (each.asker.application.id, each.once.key)
        if key is None or key not in seen:
            first[number] = each
        if key is not None:
            seen.add(key)
    return first


def _write_all(
    ctx: Context, connection: Connection, drafts: Sequence[_Draft], *, waits: bool
) -> list[_Created | Exception | None]:
    now = ctx.clock.now()
    earlier = claim_all(connection, [(each.asker, each.once, each.transaction.id) for each in drafts], now)
    fresh = [each for each, made in zip(drafts, earlier, strict=True) if made is None]
    left_out = _left_out(connection, ctx, fresh, now, waits=waits)
    for each in fresh:
        if each.transaction.id in left_out:
            take_back(connection, each.asker, each.once, each.transaction.id)
    _insert_all(connection, [each for each in fresh if each.transaction.id not in left_out], now)

    def created(draft: _Draft, made: str | Refusal | None) -> _Created | Exception | None:
        if isinstance(made, Refusal):
            return made
        if made is not None:
            return created_view(load_transaction(connection, draft.asker, made)), False
        name = draft.transaction.id
        return left_out[name] if name in left_out else (created_view(draft.transaction), True)

    return [created(*pair) for pair in zip(drafts, earlier, strict=True)]


def _left_out(
    connection: Connection, ctx: Context, drafts: Sequence[_Draft], now: datetime, *, waits: bool
) -> dict[str, Refusal | None]:
    """Lock the users, so that whoever deletes one now finds the transaction and cancels it.

    Returns those that are not to be made, by id, and why: None if the user is not there or is held by somebody, for
    whom nobody waits but who asks by itself.
    """
    wanted = {each.user for each in drafts}
    known: dict[tuple[str, str], User | None] = {}
    if waits:
        known = {user: users.lock_user(connection, *user) for user in wanted}
    else:
        known |= users.lock_free_users(connection, wanted)
    able, waiting = keysets.who_can_confirm(connection, wanted, now), count_waiting(connection, wanted)
    left_out: dict[str, Refusal | None] = {}
    for each in drafts:
        why: Refusal | None = None
        if each.user in known:
            why = _why_not(each, known[each.user], able.get(each.user))
            why = why or why_no_room(connection, ctx, each.transaction, waiting[each.user])
        if why is not None or each.user not in known:
            left_out[each.transaction.id] = why
        else:
            waiting[each.user] += 1
    return left_out


def _why_not(draft: _Draft, user: User | None, has_kpublic: bool | None) -> Refusal | None:  # noqa: FBT001 - as found
    """Return why it may not be made; ``has_kpublic`` is None where no keyset of the user could confirm anything."""
    policy = draft.asker.application.policy
    if user is None:
        return Refusal("not_found", "unknown user", detail="There is no such user.")
    try:
        user_rules.require_open(user, policy.failures_most)
    except Refusal as refusal:
        return refusal
    needs_kpublic = draft.transaction.kpublic_required or policy.kpublic_required
    if has_kpublic is None or (needs_kpublic and not has_kpublic):
        return Refusal("no_active_keys")
    return None


def _insert_all(connection: Connection, drafts: Sequence[_Draft], now: datetime) -> None:
    if not drafts:
        return
    contents = [each.content if isinstance(each.content, bytes) else b"" for each in drafts]
    transactions.insert_transactions(
        connection, [(each.transaction, content) for each, content in zip(drafts, contents, strict=True)]
    )
    for each in drafts:
        if isinstance(each.content, Upload) and not uploads.use_upload(
            connection, each.content, each.transaction.id
        ):
            raise no_such_content()
    record(connection, [_event(each, now) for each in drafts])
    woken = [each for each in drafts if each.asker.application.policy.push]
    if woken:
        until = max(each.transaction.expires_at for each in woken)
        pushes.want_pushes(connection, {each.user for each in woken}, now, until)


def _event(draft: _Draft, now: datetime) -> Event:
    transaction, content = draft.transaction, draft.content
    told = {"kind": transaction.kind, "media_type": transaction.media_type, "size": transaction.size}
    return make_event(
        EventType.TRANSACTION_CREATED,
        "created",
        now,
        draft.origin,
        detail=told | ({"content_id": content.id} if isinstance(content, Upload) else {}),
        **settling.subject(transaction.application_id, transaction),
    )
