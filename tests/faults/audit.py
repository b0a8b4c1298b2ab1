"""What must be true of database and token after any number of kills?"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from gateway.rules.keyset import OPEN
from gateway.rules.user import UserStatus
from gateway.scenarios import bindings, housekeeping, keynames
from gateway.scenarios.context import Context
from gateway.store import keysets, loose_keys
from gateway.store.tables import attempts, authentications, contents, deliveries, events, transactions, users
from gateway.store.tables import keysets as keysets_table
from hsm.keys import KeyRef
from tests.faults.crowd import Notes


class Later:
    """A clock that is ahead: planned keys that were never adopted are forgotten for it."""

    def now(self) -> datetime:
        """Return the moment a quarter of an hour from now."""
        return datetime.now(UTC) + timedelta(minutes=15)


def _all(ctx: Context, statement: sa.Select[Any]) -> list[Any]:
    with ctx.database.reading() as connection:
        return list(connection.execute(statement))


def check_answers(ctx: Context, notes: Notes) -> list[str]:
    """Everything that was answered is kept: return what is not."""
    kept = {row.id: row.status for row in _all(ctx, sa.select(transactions.c.id, transactions.c.status))}
    faults = [
        f"{name} was answered as {told} and is {kept.get(name)}"
        for name, told in notes.settled.items()
        if kept.get(name) != told
    ]
    if set(kept) != set(notes.created.values()):
        faults.append(f"{len(kept)} transactions for {len(notes.created)} keys")
    return faults


def check_transactions(ctx: Context) -> list[str]:
    """No transaction is settled by half: return those that are."""
    accepted = _counts(ctx, attempts.c.transaction_id, attempts.c.outcome == "accepted")
    told = _counts(ctx, events.c.transaction_id, events.c.type == "transaction.settled")
    queued = _counts(ctx, deliveries.c.transaction_id, deliveries.c.sequence == 1)
    left = _counts(ctx, contents.c.transaction_id)
    faults = []
    for row in _all(ctx, sa.select(transactions)):
        found = [counts.get(row.id, 0) for counts in (accepted, told, queued, left)]
        found += [row.callbacks, int(row.settled_at is not None)]
        wanted = [0, 0, 0, 1, 0, 0] if row.status == "pending" else [1, 1, 1, 0, 1, 1]
        if found != wanted:
            faults.append(f"{row.id} is {row.status}, but has {found} instead of {wanted}")
    return faults


def _counts(ctx: Context, name: sa.Column[str], *where: sa.ColumnElement[bool]) -> dict[str, int]:
    counted = sa.select(name, sa.func.count()).where(name.is_not(None), *where).group_by(name)
    return {row[0]: row[1] for row in _all(ctx, counted)}


def check_users(ctx: Context) -> list[str]:
    """Nobody failed, nobody is blocked by chance, and the HSM vouches for every keyset."""
    found = {row.user_id: row for row in _all(ctx, sa.select(users))}
    faults = [f"{name} has {row.failures} failures" for name, row in found.items() if row.failures]
    for name, row in found.items():
        with ctx.database.reading() as connection:
            present = keysets.keysets_of(connection, row.application_id, name)
        faults += [
            f"the binding of {keyset.id} ({keyset.status}) does not hold"
            for keyset in present
            if not bindings.is_bound(ctx, keyset, UserStatus(row.status))
        ]
        if sum(keyset.status in OPEN for keyset in present) > 1:
            faults.append(f"{name} has more than one open keyset")
    return faults


def _on_token(names: Iterable[str | None]) -> set[KeyRef]:
    return {KeyRef.parse(name) for name in keynames.on_token(each for each in names if each is not None)}


async def check_token(ctx: Context) -> tuple[list[str], list[str], int]:
    """After the sweep the token holds exactly the keys that are still needed: to ask with, or to verify old answers.

    Returns: what is too much, what is missing, and how many keys there are.
    """
    while await housekeeping.sweep_keys(ctx):
        pass
    on_token = set(ctx.device.user_keys())
    with ctx.database.reading() as connection:
        loose = {KeyRef.parse(uri) for uri in loose_keys.known_uris(connection)}
    used = {
        row.keyset_id
        for table in (attempts, authentications)
        for row in _all(ctx, sa.select(table.c.keyset_id))
    }
    needed: set[KeyRef] = set()
    for row in _all(ctx, sa.select(keysets_table)):
        if row.status in OPEN:
            needed |= _on_token((row.khmac, row.kauth, row.kpublic))
        elif row.registered_at is not None or row.id in used:
            needed |= _on_token((row.khmac, row.kpublic))
    orphans = [f"orphan on the token: {key.uri()}" for key in on_token - needed - loose]
    orphans += [f"still loose after the sweep: {key.uri()}" for key in loose]
    missing = [f"missing on the token: {key.uri()}" for key in needed - on_token]
    return orphans, missing, len(on_token)
