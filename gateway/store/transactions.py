"""What is remembered of transactions: the record, the content while it waits, and each attempt to answer it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.rules.confirmation import Outcome
from gateway.rules.scoring_policy import ScoringSetting
from gateway.rules.transaction import Kind, Transaction, TransactionStatus
from gateway.store.many import among, append
from gateway.store.rows import row_of
from gateway.store.tables import attempts, authentications, contents, transactions
from gateway.store.users import of_applications

PART_BYTES = 256 * 1024
_COLUMNS = tuple(column.name for column in transactions.c)
_BY_ID = sa.select(transactions).where(
    transactions.c.id == sa.bindparam("id"), transactions.c.application_id == sa.bindparam("application_id")
)
_BY_IDS = sa.select(transactions).where(among(transactions.c.id, "ids"))
_SETTLED: dict[str, Any] = {
    "status": sa.bindparam("to_status"),
    "reason": sa.bindparam("to_reason"),
    "settled_at": sa.bindparam("now"),
}
_PENDING = transactions.c.status == TransactionStatus.PENDING
# In the words of the indexes of what waits; with a parameter in their place no database takes these indexes for sure.
WAITS = transactions.c.status == sa.literal_column(f"'{TransactionStatus.PENDING}'")
_SETTLE = (
    sa.update(transactions).where(transactions.c.id == sa.bindparam("of_id"), _PENDING).values(**_SETTLED)
)
_IN_TIME = transactions.c.expires_at > sa.bindparam("now")
# Worded so that no index serves it: SQLite would otherwise walk through all that is pending to find a few by their ids.
_STILL_PENDING = transactions.c.status + "" == TransactionStatus.PENDING
_SETTLE_IN_TIME = _SETTLE.where(_IN_TIME)
_SETTLE_MANY = (
    sa.update(transactions)
    .where(among(transactions.c.id, "ids"), _STILL_PENDING, _IN_TIME)
    .values(**_SETTLED, callbacks=transactions.c.callbacks + sa.bindparam("told"))
    .returning(transactions.c.id, transactions.c.callbacks)
)
# Neither in time nor in order: of SQLite either would have it read by another index what waits for everybody.
_WAITING = (
    sa.select(transactions)
    .where(
        transactions.c.application_id == sa.bindparam("of_application"),
        among(transactions.c.user_id, "of_users"),
        WAITS,
    )
    .limit(sa.bindparam("most"))
)
_SCORINGS = {str(word): word for word in ScoringSetting}
_CLEAR = sa.delete(contents).where(among(contents.c.transaction_id, "ids"))
_INSERT_PART = sa.insert(contents)
_COUNT_FAILURE = (
    sa.update(transactions)
    .where(transactions.c.id == sa.bindparam("of_id"))
    .values(failures=transactions.c.failures + 1)
    .returning(transactions.c.failures)
)
_PARTS = (
    sa.select(contents.c.data)
    .where(
        contents.c.transaction_id == sa.bindparam("of_id"),
        contents.c.part.between(sa.bindparam("first"), sa.bindparam("last")),
    )
    .order_by(contents.c.part)
)
_FIRST_PARTS = sa.select(contents.c.transaction_id, contents.c.data).where(
    among(contents.c.transaction_id, "ids"), contents.c.part == 0
)
_ATTEMPTS = sa.select(attempts).where(among(attempts.c.transaction_id, "ids")).order_by(attempts.c.id)
_NOT_ACCEPTED = sa.select(sa.func.count()).where(
    attempts.c.transaction_id == sa.bindparam("of_id"), attempts.c.outcome != Outcome.ACCEPTED
)
_USES = tuple(
    sa.select(table.c.id).where(table.c.keyset_id == sa.bindparam("of_keyset")).limit(1)
    for table in (attempts, authentications)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One answer to a transaction: what was presented, what was verified, and how it ended."""

    id: str
    transaction_id: str
    keyset_id: str
    device_id: str | None  # the keyset's
    operation: str
    channel: str
    step: int
    code: bytes
    signature: bytes | None
    verified: tuple[str, ...]
    outcome: str
    device: dict[str, Any]
    receipt: str | None
    scoring: dict[str, Any] | None = None
    created_at: datetime


_row_of_transaction = row_of(Transaction)
_row_of_attempt = row_of(Attempt)


def insert_transactions(connection: Connection, made: Sequence[tuple[Transaction, bytes]]) -> None:
    """Add transactions with their content, cut into parts so that a phone's part is read without the rest."""
    append(connection, transactions, [_row_of_transaction(transaction) for transaction, _ in made])
    parts = [
        {"transaction_id": transaction.id, "part": part, "data": content[start : start + PART_BYTES]}
        for transaction, content in made
        for part, start in enumerate(range(0, len(content), PART_BYTES))
    ]
    if sum(len(content) for _, content in made) <= PART_BYTES:
        append(connection, contents, parts)
        return
    for part in parts:  # of much, a text of all would take a multiple of its size
        connection.execute(_INSERT_PART, part)


def find_transaction(connection: Connection, application_id: str, transaction_id: str) -> Transaction | None:
    """Return the application's transaction, or None."""
    row = connection.execute(_BY_ID, {"id": transaction_id, "application_id": application_id}).one_or_none()
    return None if row is None else _transaction(row)


def find_transactions(connection: Connection, transaction_ids: Sequence[str]) -> dict[str, Transaction]:
    """Return the transactions of these ids that there are, of whichever application, by id."""
    found = [_transaction(row) for row in connection.execute(_BY_IDS, {"ids": transaction_ids})]
    return {transaction.id: transaction for transaction in found}


def list_transactions(
    connection: Connection,
    application_id: str,
    *,
    user_id: str | None,
    status: str | None,
    after: str | None,
    limit: int | None,
) -> list[Transaction]:
    """Return transactions newest first; ``after`` is the last id of the page before, no ``limit`` gives all."""
    statement = sa.select(transactions).where(transactions.c.application_id == application_id)
    if user_id is not None:
        statement = statement.where(transactions.c.user_id == user_id)
    if status is not None:
        statement = statement.where(
            WAITS if status == TransactionStatus.PENDING else transactions.c.status == status
        )
    if after is not None:
        statement = statement.where(transactions.c.id < after)
    rows = connection.execute(statement.order_by(transactions.c.id.desc()).limit(limit))
    return [_transaction(row) for row in rows]


def pending_transactions(
    connection: Connection, ids: Collection[tuple[str, str]], now: datetime, most: int
) -> dict[tuple[str, str], list[Transaction]]:
    """Return what each of these (application, user) can answer now, oldest first; for all of them ``most`` each."""
    found: dict[tuple[str, str], list[Transaction]] = {name: [] for name in ids}
    for named in of_applications(ids):
        rows = connection.execute(_WAITING, named | {"most": most * len(named["of_users"])})
        for transaction in sorted(map(_transaction, rows), key=attrgetter("id")):
            if transaction.expires_at > now:
                found[transaction.application_id, transaction.user_id].append(transaction)
    return found


def all_pending(connection: Connection, application_id: str, user_id: str) -> list[Transaction]:
    """Return every pending transaction of the user, expired or not."""
    return list_transactions(
        connection,
        application_id,
        user_id=user_id,
        status=TransactionStatus.PENDING,
        after=None,
        limit=None,
    )


def expired_transactions(connection: Connection, now: datetime, most: int) -> list[Transaction]:
    """Return pending transactions whose time is over."""
    rows = connection.execute(
        sa.select(transactions)
        .where(WAITS, transactions.c.expires_at <= now)
        .order_by(transactions.c.expires_at)
        .limit(most)
    )
    return [_transaction(row) for row in rows]


def settle_transaction(
    connection: Connection,
    transaction_id: str,
    *,
    status: TransactionStatus,
    reason: str | None,
    now: datetime,
    before_expiry: bool,
) -> bool:
    """Give the transaction its final state if it is pending, and clear its content; one caller wins.

    Args:
        connection: an open unit.
        transaction_id: which one.
        status: the final state.
        reason: why, where the state alone does not say.
        now: the moment of the decision.
        before_expiry: True where only a transaction whose time is not over may be settled.
    """
    values = {"of_id": transaction_id, "to_status": status, "to_reason": reason, "now": now}
    if connection.execute(_SETTLE_IN_TIME if before_expiry else _SETTLE, values).rowcount != 1:
        return False
    connection.execute(_CLEAR, {"ids": [transaction_id]})
    return True


def settle_transactions(
    connection: Connection,
    transaction_ids: Sequence[str],
    status: TransactionStatus,
    now: datetime,
    *,
    told: bool,
) -> dict[str, int]:
    """Do the same for many that are answered in time; return the number of callbacks of each that was won, by id.

    Args:
        connection: an open unit.
        transaction_ids: which ones.
        status: the final state.
        now: the moment of the decision.
        told: whether a callback follows, which is counted with it.
    """
    values = {"ids": transaction_ids, "to_status": status, "to_reason": None, "now": now, "told": int(told)}
    won = {row[0]: int(row[1]) for row in connection.execute(_SETTLE_MANY, values)}
    connection.execute(_CLEAR, {"ids": list(won)})
    return won


def count_failure(connection: Connection, transaction_id: str) -> int:
    """Count one more wrong answer and return the new number."""
    return int(connection.execute(_COUNT_FAILURE, {"of_id": transaction_id}).scalar_one())


def read_content(connection: Connection, transaction_id: str, offset: int, length: int) -> bytes:
    """Return ``length`` bytes of the content from ``offset``, fewer at its end; empty once it is cleared."""
    first, last = offset // PART_BYTES, (offset + length - 1) // PART_BYTES
    asked = {"of_id": transaction_id, "first": first, "last": last}
    rows: Sequence[bytes] = connection.execute(_PARTS, asked).scalars().all()
    start = offset - first * PART_BYTES
    return b"".join(rows)[start : start + length]


def first_parts(connection: Connection, transaction_ids: Collection[str]) -> dict[str, bytes]:
    """Return the first ``PART_BYTES`` of those contents that are not cleared, by transaction."""
    return {row[0]: row[1] for row in connection.execute(_FIRST_PARTS, {"ids": transaction_ids})}


def insert_attempts(connection: Connection, made: Sequence[Attempt]) -> None:
    """Add attempts."""
    rows = [{**_row_of_attempt(attempt), "verified": list(attempt.verified)} for attempt in made]
    append(connection, attempts, rows)


def count_not_accepted(connection: Connection, transaction_id: str) -> int:
    """Return how many refused and late attempts at the transaction are kept."""
    return int(connection.execute(_NOT_ACCEPTED, {"of_id": transaction_id}).scalar_one())


def was_used(connection: Connection, keyset_id: str) -> bool:
    """Say whether any answer to a transaction, or authentication, was ever given with the keyset."""
    return any(connection.execute(each, {"of_keyset": keyset_id}).first() for each in _USES)


def attempts_of(connection: Connection, transaction_ids: Collection[str]) -> dict[str, list[Attempt]]:
    """Return every attempt at each of these transactions, oldest first."""
    found: dict[str, list[Attempt]] = {each: [] for each in transaction_ids}
    for row in connection.execute(_ATTEMPTS, {"ids": transaction_ids}):
        attempt = Attempt(**{**row._mapping, "verified": tuple(row.verified)})
        found[attempt.transaction_id].append(attempt)
    return found


def _transaction(row: Row[Any]) -> Transaction:
    values = dict(zip(_COLUMNS, row, strict=True))
    values.pop("callbacks")
    values["kind"] = Kind(values["kind"])
    values["status"] = TransactionStatus(values["status"])
    values["scoring"] = _SCORINGS.get(values["scoring"], ScoringSetting.POLICY)
    return Transaction(**values)
