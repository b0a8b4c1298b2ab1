"""How much waits for an answer: for a user, and of an application?"""

from collections import Counter
from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.rules.transaction import LARGE_BYTES
from gateway.store.many import among
from gateway.store.tables import transactions
from gateway.store.transactions import WAITS
from gateway.store.users import of_applications

_OF_APPLICATION = transactions.c.application_id == sa.bindparam("of_application")
_WAITING = (
    sa.select(transactions.c.user_id, sa.func.count())
    .where(_OF_APPLICATION, among(transactions.c.user_id, "of_users"), WAITS)
    .group_by(transactions.c.user_id)
)
# In the words of an index of its own; with a parameter in their place no database takes it for sure.
_LARGE = sa.select(sa.func.coalesce(sa.func.sum(transactions.c.size), 0)).where(
    _OF_APPLICATION, WAITS, transactions.c.size > sa.literal_column(str(LARGE_BYTES))
)
_BYTES = sa.select(sa.func.coalesce(sa.func.sum(transactions.c.size), 0)).where(
    _OF_APPLICATION, transactions.c.user_id == sa.bindparam("of_user"), WAITS
)


def count_waiting(connection: Connection, ids: Collection[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """Return how many transactions of each of these (application, user) are pending."""
    return Counter(
        {
            (named["of_application"], user_id): int(number)
            for named in of_applications(ids)
            for user_id, number in connection.execute(_WAITING, named)
        }
    )


def large_waiting(connection: Connection, application_id: str) -> int:
    """Return the bytes of the contents over 64 KiB of the application's pending transactions."""
    return int(connection.execute(_LARGE, {"of_application": application_id}).scalar_one())


def bytes_waiting(connection: Connection, application_id: str, user_id: str) -> int:
    """Return the bytes of the contents of the user's pending transactions."""
    named = {"of_application": application_id, "of_user": user_id}
    return int(connection.execute(_BYTES, named).scalar_one())
