"""What are phones told that ask for transactions or small contents at a time: one statement reads them for all."""

from collections.abc import Mapping
from typing import Any

from gateway.rules import transaction as rules
from gateway.rules.transaction import Transaction
from gateway.scenarios.authentication import Caller
from gateway.scenarios.representation import pending_view
from gateway.store import transactions
from gateway.store.database import Connection
from gateway.wire.bodies import Content, Get

SMALL_BYTES = 64 * 1024  # of content; who asks for more is to keep nobody waiting


def fetch_plain(
    connection: Connection, asked: Mapping[int, tuple[Caller, Get | Content]]
) -> dict[int, dict[str, Any] | bytes]:
    """Return what is told, by the same numbers; of whoever is missing there, it is decided alone what is wrong."""
    known = transactions.find_transactions(connection, list({body.transaction for _, body in asked.values()}))
    plain = {
        number: (caller, body, known[body.transaction])
        for number, (caller, body) in asked.items()
        if body.transaction in known and _is_plain(caller, body, known[body.transaction])
    }
    read = {body.transaction for _, body, _ in plain.values() if isinstance(body, Content)}
    contents = transactions.first_parts(connection, read) if read else {}
    return {
        number: contents[body.transaction][body.offset : body.offset + body.length]
        if isinstance(body, Content)
        else pending_view(transaction, caller.policy)
        for number, (caller, body, transaction) in plain.items()
        if not isinstance(body, Content) or body.transaction in contents
    }


def _is_plain(caller: Caller, body: Get | Content, transaction: Transaction) -> bool:
    theirs = (transaction.application_id, transaction.user_id) == (caller.application.id, caller.user.user_id)
    if not theirs or not rules.is_open(transaction, caller.now):
        return False
    return isinstance(body, Get) or body.offset < transaction.size <= SMALL_BYTES
