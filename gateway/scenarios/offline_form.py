"""How does a phone without a network see a transaction: all of it as the text of a QR code, while that is allowed?"""

from gateway.refusals import Refusal
from gateway.rules.policy import Policy
from gateway.rules.transaction import Transaction, TransactionStatus
from gateway.scenarios import bindings, proofs
from gateway.scenarios.access import Asker
from gateway.scenarios.context import Context
from gateway.scenarios.transactions import load_transaction
from gateway.store import transactions
from gateway.store.database import Connection
from gateway.wire.offline import CONTENT_BYTES, OfflineTransaction


async def show_offline(ctx: Context, asker: Asker, transaction_id: str) -> str:
    """Return the text of the QR code that carries the whole transaction.

    Raises:
        Refusal: ``not_found``, ``not_allowed_by_policy`` (no short code is accepted, or the content is too large for
            a QR code), ``transaction_settled``, ``integrity_failure``.
    """
    transaction, content = await ctx.reading(_gather_content, asker, transaction_id)
    await ctx.on_device(bindings.require_bound_transaction, ctx, transaction)
    return OfflineTransaction(
        application=transaction.application_id,
        user=transaction.user_id,
        transaction=transaction.id,
        media_type=transaction.media_type,
        content=content,
        digits=transaction.digits,
        expires_at=transaction.expires_at.replace(microsecond=0),
        title=transaction.title,
        operation=proofs.operation_of(transaction.kind),
    ).to_qr()


def _gather_content(connection: Connection, asker: Asker, transaction_id: str) -> tuple[Transaction, bytes]:
    transaction = load_transaction(connection, asker, transaction_id)
    require_offline(transaction, asker.application.policy)
    if transaction.size > CONTENT_BYTES:
        detail = f"Content of more than {CONTENT_BYTES} bytes has no offline form."
        raise Refusal("not_allowed_by_policy", "too large for a QR code", detail=detail)
    return transaction, transactions.read_content(connection, transaction.id, 0, transaction.size)


def require_offline(transaction: Transaction, policy: Policy) -> None:
    """Refuse unless the transaction may be answered by a short code."""
    if not transaction.offline:
        detail = "The transaction was created without offline confirmation."
        raise Refusal("not_allowed_by_policy", "no short code is accepted", detail=detail)
    # The policy may have changed since. Whatever forbids something is in force at once.
    if not policy.offline_allowed:
        detail = "The policy does not allow offline confirmation."
        raise Refusal("not_allowed_by_policy", "no short code is accepted any more", detail=detail)
    if transaction.status is not TransactionStatus.PENDING:
        raise Refusal("transaction_settled")
