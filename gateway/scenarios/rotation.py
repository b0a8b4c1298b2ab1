"""How does a key of the gateway get a new version while everything runs, and an old one its end?

A new version of the binding key is made beside the old one. When every process has learned of it, each row is bound
anew, if the HSM vouches for it under the version that it names. A row for which it does not stays as it is and is an
alarm. If a run is killed, the next one does the rest, because each row says how far it is.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gateway.refusals import Outage, Refusal
from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset
from gateway.rules.transaction import Transaction
from gateway.rules.user import User
from gateway.scenarios import bindings, house_values
from gateway.scenarios.context import BINDING, HOUSE_PAIR, MASTER, Context
from gateway.scenarios.receipt_versions import ReceiptKey
from gateway.scenarios.recording import SYSTEM, make_event, record
from gateway.store import house_keys, receipt_keys, rotating
from gateway.store.database import Connection
from gateway.wire import keyname
from gateway.wire.keyname import DerivedName
from hsm.errors import DeviceUnavailable

_USERS_AT_A_TIME = 50
_TRANSACTIONS_AT_A_TIME = 200
_MOST_PASSES = 20
_RECEIPT_OVERLAP = timedelta(minutes=1)  # for what is signed just now
_OUTAGE_SECONDS = 3.0  # of the database or the token: they come back by themselves
_PASS_SECONDS = 1.0  # for whoever had begun something under the old version


@dataclass
class Progress:
    """How far a rotation is; `broken` are ids of rows that the HSM does not vouch for."""

    version: int
    rows: int = 0  # to be bound anew when it began
    done: int = 0
    broken: set[str] = field(default_factory=set)
    left: int = 0  # that still name an older version, at the end

    @property
    def is_complete(self) -> bool:
        """Whether nothing rests on an older version any more."""
        return self.left == 0


Tell = Callable[[Progress], None]
Learn = Callable[[], Awaitable[object]]


async def rotate_binding(ctx: Context, tell: Tell, wait_seconds: float) -> Progress:
    """Bind every row to a new version of the binding key, or finish what an earlier run began.

    Args:
        ctx: where.
        tell: called now and then with the progress.
        wait_seconds: after which every process knows a new version.
    """
    await ctx.on_device(ctx.keys.binding.refresh)
    before = await ctx.reading(_older, ctx.keys.binding.newest)
    if before == 0 and not await _is_begun(ctx, BINDING, ctx.keys.binding.newest):
        await _make(ctx, BINDING, ctx.device.create_house_key)
    await _note_values(ctx)
    version = ctx.keys.binding.newest
    # Also when going on: the run that made the version may have been killed a moment ago.
    await asyncio.sleep(wait_seconds)
    progress = Progress(version, rows=await ctx.reading(_older, version))
    for left_to_try in reversed(range(_MOST_PASSES)):
        try:
            await _pass(ctx, progress, tell)
        except (Outage, DeviceUnavailable):
            if not left_to_try:
                raise
            await asyncio.sleep(_OUTAGE_SECONDS)
            continue
        if progress.left <= len(progress.broken):
            break
        await asyncio.sleep(_PASS_SECONDS)
    await _note(ctx, EventType.HOUSE_KEY_ROTATED, BINDING, version, rows=progress.done)
    return progress


async def _pass(ctx: Context, progress: Progress, tell: Tell) -> None:
    """Bind what names an older version; each row says by itself whether that was done before."""
    await _bind_users(ctx, progress, tell)
    await _bind_transactions(ctx, progress, tell)
    progress.left = await ctx.reading(_older, progress.version)


async def rotate_master(ctx: Context) -> int:
    """Make a new version of the master, from which new keysets are derived; return its number.

    Raises:
        Refusal: ``malformed_request``: there is no master on this token.
    """
    if ctx.keys.master is None:
        raise Refusal("malformed_request", "the token has no master key")
    await ctx.on_device(ctx.keys.master.refresh)
    if await _is_begun(ctx, MASTER, ctx.keys.master.newest):
        await _note_values(ctx)
        return ctx.keys.master.newest
    return await _make(ctx, MASTER, lambda _name, version: ctx.device.create_master(version))


@dataclass(frozen=True, slots=True)
class Listed:
    """One version of a key, and how many rows of which kind name it."""

    name: str
    version: int
    on_token: bool
    used: dict[str, int]


async def list_versions(ctx: Context) -> list[Listed]:
    """Return every version of a key that can be rotated, if it is on the token or named by a row."""
    await ctx.on_device(ctx.keys.refresh)
    found = []
    for name, versions in (BINDING, ctx.keys.binding), (MASTER, ctx.keys.master):
        used = await ctx.reading(rotating.rows_by_version if name == BINDING else _rows_by_master)
        there = set() if versions is None else set(versions.numbers)
        for version in sorted(there.union(*used.values())):
            rows = {what: counts[version] for what, counts in used.items() if version in counts}
            found.append(Listed(name, version, version in there, rows))
    found += [Listed(HOUSE_PAIR, key.version, True, {}) for key in ctx.keys.receipts.known]  # noqa: FBT003
    return found


async def retire(ctx: Context, name: str, version: int, learn: Learn) -> None:
    """Destroy an old version of a key, for ever.

    Args:
        ctx: where.
        name: of which key.
        version: the old one.
        learn: waits until every process uses a newer version; what one of them still made of this one is seen then.

    Raises:
        Refusal: ``malformed_request``: it is the newest, is not there, or rows or receipts still name it.
    """
    if name == HOUSE_PAIR:
        raise Refusal("malformed_request", "receipts must verify as long as anybody keeps them")
    await _require_unused(ctx, name, version)
    await learn()
    await _require_unused(ctx, name, version)
    await ctx.on_device(ctx.device.destroy_house_key, name, version)
    await ctx.unit(house_keys.forget_house_key, name, version)
    await ctx.on_device(ctx.keys.refresh)
    await _note(ctx, EventType.HOUSE_KEY_RETIRED, name, version)


async def _require_unused(ctx: Context, name: str, version: int) -> None:
    found = [each for each in await list_versions(ctx) if each.name == name]
    one = next((each for each in found if each.version == version and each.on_token), None)
    if one is None or version == max(each.version for each in found):
        raise Refusal("malformed_request", f"{name} {version} is no old version on this token")
    if one.used:
        raise Refusal("malformed_request", f"rows still rest on {name} {version}: {one.used}")


def _rows_by_master(connection: Connection) -> dict[str, dict[int, int]]:
    """Return how many keysets have a key that is derived from which master."""
    versions: Counter[int] = Counter()
    for names in rotating.derived_names(connection):
        versions.update({DerivedName.read(name).master for name in names if keyname.is_salted(name)})
    return {"keysets": dict(versions)}


async def rotate_receipt(ctx: Context, wait_seconds: float) -> int:
    """Make a new version of the receipt key, which signs from now on; return its number.

    Args:
        ctx: where.
        wait_seconds: after which every process knows it, and signs with no older one.
    """
    await ctx.on_device(ctx.keys.receipts.refresh)
    version = ctx.keys.receipts.current.version
    if not await _is_begun(ctx, HOUSE_PAIR, version):
        version += 1
        await ctx.on_device(ctx.device.create_house_pair, HOUSE_PAIR, version)
        await ctx.on_device(ctx.keys.receipts.refresh)
    if ctx.keys.receipts.current.version < version:
        raise _awaited(HOUSE_PAIR, version)
    await _note_values(ctx)
    await ctx.unit(_note_receipt_key, ctx.keys.receipts.current, ctx.clock.now(), wait_seconds)
    await _note(ctx, EventType.HOUSE_KEY_ROTATED, HOUSE_PAIR, version)
    return version


def _note_receipt_key(connection: Connection, key: ReceiptKey, now: datetime, wait_seconds: float) -> None:
    receipt_keys.note_receipt_key(connection, key.version, key.kid, now)
    until = now + timedelta(seconds=wait_seconds) + _RECEIPT_OVERLAP
    receipt_keys.retire_receipt_keys(connection, key.version, until)


async def _make(ctx: Context, name: str, create: Callable[[str, int], bool]) -> int:
    versions = ctx.keys.master if name == MASTER else ctx.keys.binding
    assert versions is not None
    version = versions.newest + 1
    await ctx.on_device(create, name, version)
    await ctx.on_device(versions.refresh)
    if versions.newest < version:
        raise _awaited(name, version)
    await _note_values(ctx)
    await _note(ctx, EventType.HOUSE_KEY_ROTATED, name, version)
    return version


async def _is_begun(ctx: Context, name: str, newest: int) -> bool:
    """Whether an earlier run made this version and could not use it, because it was not on every token yet."""
    noted = await ctx.reading(house_keys.noted_house_keys)
    return bool(noted) and (name, newest) not in noted


def _awaited(name: str, version: int) -> DeviceUnavailable:
    """Of several tokens one made the key: nobody uses it before the others have it."""
    text = f"{name} {version} is made on one token; bring it to the others, and run the command again"
    return DeviceUnavailable(text, retry_after_seconds=60)


async def _note_values(ctx: Context) -> None:
    values = await ctx.on_device(house_values.values_of, ctx.device, ctx.keys)
    await ctx.unit(house_keys.note_house_keys, values, ctx.clock.now())


async def _bind_users(ctx: Context, progress: Progress, tell: Tell) -> None:
    place: rotating.Place = ("", "")
    while page := await ctx.reading(rotating.users_bound_before, progress.version, place, _USERS_AT_A_TIME):
        for user, present in page:
            changes = await ctx.on_device(_bound_keysets, ctx, user, present, progress)
            progress.done += await ctx.unit(rotating.bind_keysets, user, changes) if changes else 0
        last = page[-1][0]
        place = (last.application_id, last.user_id)
        await _told(ctx, progress, tell, [row for _, present in page for row in present])


def _bound_keysets(
    ctx: Context, user: User, present: list[Keyset], progress: Progress
) -> list[tuple[Keyset, Keyset]]:
    changes = []
    for keyset in present:
        if keyset.binding_version == progress.version:
            continue
        if bindings.is_bound(ctx, keyset, user.status):
            changes.append((keyset, bindings.bind(ctx, keyset, user.status)))
        else:
            progress.broken.add(keyset.id)
    return changes


async def _bind_transactions(ctx: Context, progress: Progress, tell: Tell) -> None:
    after = ""
    while page := await ctx.reading(
        rotating.transactions_bound_before, progress.version, after, _TRANSACTIONS_AT_A_TIME
    ):
        changes = await ctx.on_device(_bound_transactions, ctx, page, progress)
        progress.done += await ctx.unit(rotating.bind_transactions, changes)
        after = page[-1].id
        await _told(ctx, progress, tell, page)


def _bound_transactions(
    ctx: Context, page: list[Transaction], progress: Progress
) -> list[tuple[Transaction, Transaction]]:
    changes = []
    for transaction in page:
        try:
            bindings.require_bound_transaction(ctx, transaction)
        except bindings.BrokenBinding:
            progress.broken.add(transaction.id)
        else:
            changes.append((transaction, bindings.bind_transaction(ctx, transaction)))
    return changes


async def _told(ctx: Context, progress: Progress, tell: Tell, seen: list[Keyset] | list[Transaction]) -> None:
    """Tell of the progress, and record an alarm for each broken row among those just seen."""
    now = ctx.clock.now()
    lines = [bindings.alarm(row, now, SYSTEM) for row in seen if row.id in progress.broken]
    if lines:
        await ctx.unit(record, lines)
    tell(progress)


async def _note(ctx: Context, type_: EventType, name: str, version: int, **detail: object) -> None:
    event = make_event(
        type_, "done", ctx.clock.now(), SYSTEM, detail={"name": name, "version": version, **detail}
    )
    await ctx.unit(record, [event])


def _older(connection: Connection, version: int) -> int:
    used = rotating.rows_by_version(connection)
    return sum(rows for counts in used.values() for number, rows in counts.items() if number < version)
