"""How is a transaction read and cancelled by its application?"""

from collections.abc import Sequence
from typing import Any

from gateway.refusals import Refusal
from gateway.rules.transaction import CancelReason, Transaction, TransactionAction, TransactionStatus
from gateway.scenarios import settling
from gateway.scenarios.access import Asker
from gateway.scenarios.change_watch import watched
from gateway.scenarios.context import Context
from gateway.scenarios.recording import Origin
from gateway.scenarios.representation import transaction_view
from gateway.store import transactions
from gateway.store.database import Connection

_MOST, _AT_ONCE = 32, 1  # transactions that are read together, and such groups


def load_transaction(connection: Connection, asker: Asker, transaction_id: str) -> Transaction:
    """Return the application's transaction; Refusal ``not_found`` if it has no such."""
    transaction = transactions.find_transaction(connection, asker.application.id, transaction_id)
    if transaction is None:
        raise Refusal("not_found", "unknown transaction")
    return transaction


def find_own(connection: Connection, asked: Sequence[tuple[Asker, str]]) -> list[Transaction | None]:
    """Return for each who asks for a transaction what there is of its application under that id."""
    known = transactions.find_transactions(connection, list({name for _, name in asked}))

    def own(asker: Asker, name: str) -> Transaction | None:
        found = known.get(name)
        return found if found is not None and found.application_id == asker.application.id else None

    return [own(*each) for each in asked]


async def fetch_transaction(
    ctx: Context, asker: Asker, transaction_id: str, wait_seconds: float = 0
) -> dict[str, Any]:
    """Return the transaction, at once or as soon as it is settled or the time is over."""

    async def look() -> dict[str, Any]:
        return await ctx.room(_views_together, _MOST, _AT_ONCE).ask((asker, transaction_id))

    return await watched(
        ctx, transaction_id, wait_seconds, look, lambda view: view["status"] != TransactionStatus.PENDING
    )


async def _views_together(
    ctx: Context, asked: list[tuple[Asker, str]]
) -> Sequence[dict[str, Any] | Exception]:
    return await ctx.reading_of_all(_views, asked)


def _views(connection: Connection, asked: Sequence[tuple[Asker, str]]) -> list[dict[str, Any] | Exception]:
    """Return what is told of transactions to those who ask for them."""
    found = find_own(connection, asked)
    answers = transactions.attempts_of(connection, {each.id for each in found if each is not None})
    return [
        Refusal("not_found", "unknown transaction")
        if each is None
        else transaction_view(each, answers[each.id])
        for each in found
    ]


async def list_transactions(
    ctx: Context, asker: Asker, *, user_id: str | None, status: str | None, after: str | None, limit: int
) -> Sequence[dict[str, Any]]:
    """Return a page of transactions, newest first, without their attempts."""
    found = await ctx.reading(
        transactions.list_transactions,
        asker.application.id,
        user_id=user_id,
        status=status,
        after=after,
        limit=limit,
    )
    return [transaction_view(transaction) for transaction in found]


async def cancel_transaction(
    ctx: Context, asker: Asker, transaction_id: str, reason: str | None, origin: Origin
) -> dict[str, Any]:
    """Cancel a pending transaction for the application.

    Raises:
        Refusal: ``not_found``, or ``transaction_settled`` when it has its final state already.
    """
    view = await ctx.unit(_cancel, ctx, asker, transaction_id, reason, origin)
    ctx.waiters.wake(transaction_id)
    return view


def _cancel(
    connection: Connection,
    ctx: Context,
    asker: Asker,
    transaction_id: str,
    reason: str | None,
    origin: Origin,
) -> dict[str, Any]:
    load_transaction(connection, asker, transaction_id)
    won = settling.cancel(
        connection,
        asker.application,
        transaction_id,
        TransactionAction.CANCEL,
        reason or CancelReason.APPLICATION,
        origin,
        ctx.clock.now(),
    )
    if not won:
        raise Refusal("transaction_settled")
    settled = load_transaction(connection, asker, transaction_id)
    return transaction_view(settled, transactions.attempts_of(connection, [settled.id])[settled.id])
