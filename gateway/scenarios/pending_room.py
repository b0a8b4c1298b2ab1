"""Is there room for one more transaction that waits for an answer?

What waits is kept with its content, told to phones, and ends with its user in one unit: without an end to it one
application could fill the disk, or hold up the others for as long as such a unit takes.
"""

from gateway.refusals import Refusal
from gateway.rules.transaction import LARGE_BYTES, USER_BYTES_MOST, WAITING_MOST, Transaction
from gateway.scenarios.context import Context
from gateway.store.database import Connection
from gateway.store.waiting import bytes_waiting, large_waiting


def why_no_room(
    connection: Connection, ctx: Context, transaction: Transaction, waiting: int
) -> Refusal | None:
    """Return why a transaction may not be added to what waits, in the unit that would add it; the user is locked.

    The application is not, so large ones that are added at the same moment may together exceed the bytes.

    Args:
        connection: the open unit.
        ctx: the parts.
        transaction: the one to be added.
        waiting: how many wait for its user already.
    """
    if waiting >= WAITING_MOST:
        detail = f"At most {WAITING_MOST} transactions of a user wait for an answer."
        return Refusal("too_many_pending", "too many of the user", detail=detail)
    if transaction.size <= LARGE_BYTES:
        return None
    size = bytes_waiting(connection, transaction.application_id, transaction.user_id)
    if size + transaction.size > USER_BYTES_MOST:
        detail = (
            f"Contents that wait for a user have {USER_BYTES_MOST} bytes in all at most; there are {size}."
        )
        return Refusal("too_many_pending", "too many bytes of the user", detail=detail)
    size = large_waiting(connection, transaction.application_id)
    if size + transaction.size <= ctx.pending_bytes_most:
        return None
    detail = (
        f"Contents of more than {LARGE_BYTES} bytes that wait in transactions have {ctx.pending_bytes_most} bytes "
        f"in all at most; there are {size}."
    )
    return Refusal("too_many_pending", "too many bytes of the application", detail=detail)
