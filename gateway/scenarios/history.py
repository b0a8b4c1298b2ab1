"""Which answers were given in a user's name, with which keys, and from which device?"""

from typing import Any

from gateway.refusals import Refusal
from gateway.scenarios.access import Asker
from gateway.scenarios.context import Context
from gateway.scenarios.representation import attempt_view
from gateway.store import history, users
from gateway.store.database import Connection
from gateway.store.history import Wanted
from gateway.store.transactions import Attempt


async def list_answers(
    ctx: Context, asker: Asker, user_id: str, wanted: Wanted, *, after: str, limit: int
) -> list[dict[str, Any]]:
    """Return a page of what the user answered, oldest first, refused and late answers too.

    Raises:
        Refusal: ``not_found``.
    """
    return await ctx.reading(_list, asker, user_id, wanted, after=after, limit=limit)


def _list(
    connection: Connection, asker: Asker, user_id: str, wanted: Wanted, *, after: str, limit: int
) -> list[dict[str, Any]]:
    application_id = asker.application.id
    if users.find_user(connection, application_id, user_id) is None:
        raise Refusal("not_found", "unknown user")
    found = history.answers_of(connection, application_id, user_id, wanted, after=after, limit=limit)
    return [_view(each) for each in found]


def _view(attempt: Attempt) -> dict[str, Any]:
    return attempt_view(attempt) | {"transaction": attempt.transaction_id}
