"""Which rows does which version of the binding key vouch for, and how are they bound anew, a few at a time?"""

from collections.abc import Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.rules.keyset import Keyset
from gateway.rules.transaction import Transaction
from gateway.rules.user import User
from gateway.store import keysets as keyset_rows
from gateway.store import transactions as transaction_rows
from gateway.store import users as user_rows
from gateway.store.tables import keysets, transactions

Place = tuple[str, str]  # application and user


def rows_by_version(connection: Connection) -> dict[str, dict[int, int]]:
    """Return how many rows name which version, for keysets and transactions; reads every row."""
    found = {}
    for table in (keysets, transactions):
        version = table.c.binding_version
        counted = sa.select(version, sa.func.count()).group_by(version).order_by(version)
        found[table.name] = {row[0]: row[1] for row in connection.execute(counted)}
    return found


def derived_names(connection: Connection) -> Iterator[tuple[str, str]]:
    """Give the names of Khmac and Kauth of every keyset whose keys are derived."""
    named = sa.select(keysets.c.khmac, keysets.c.kauth).where(keysets.c.khmac.not_like("pkcs11:%"))
    for row in connection.execute(named, execution_options={"yield_per": 1000}):
        yield row[0], row[1]


def users_bound_before(
    connection: Connection, version: int, after: Place, most: int
) -> list[tuple[User, list[Keyset]]]:
    """Return users of whom a keyset names an older version, in order, each with all of its keysets."""
    key = (keysets.c.application_id, keysets.c.user_id)
    asked = (
        sa.select(*key)
        .where(keysets.c.binding_version < version, sa.tuple_(*key) > sa.tuple_(*map(sa.literal, after)))
        .group_by(*key)
        .order_by(*key)
        .limit(most)
    )
    found = []
    for application_id, user_id in connection.execute(asked).all():
        user = user_rows.find_user(connection, application_id, user_id)
        if user is not None:
            found.append((user, keyset_rows.keysets_of(connection, application_id, user_id)))
    return found


def bind_keysets(connection: Connection, user: User, changes: Sequence[tuple[Keyset, Keyset]]) -> int:
    """Write the new bindings of a user's keysets, none if the user changed since; return how many were written."""
    if not user_rows.raise_version(connection, user):
        return 0
    return sum(keyset_rows.change_keyset(connection, seen, bound) for seen, bound in changes)


def transactions_bound_before(
    connection: Connection, version: int, after: str, most: int
) -> list[Transaction]:
    """Return transactions that name an older version, in the order of their ids."""
    asked = (
        sa.select(transactions.c.id)
        .where(transactions.c.binding_version < version, transactions.c.id > after)
        .order_by(transactions.c.id)
        .limit(most)
    )
    ids = list(connection.execute(asked).scalars())
    found = transaction_rows.find_transactions(connection, ids) if ids else {}
    return [found[each] for each in ids]


def bind_transactions(connection: Connection, changes: Sequence[tuple[Transaction, Transaction]]) -> int:
    """Write the new bindings of transactions that are still bound as they were seen; return how many were."""
    written = 0
    for seen, bound in changes:
        statement = (
            sa.update(transactions)
            .where(transactions.c.id == seen.id, transactions.c.binding == seen.binding)
            .values(binding=bound.binding, binding_version=bound.binding_version)
        )
        written += connection.execute(statement).rowcount
    return written
