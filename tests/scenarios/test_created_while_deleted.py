"""Can a transaction be created for a user who is being deleted or blocked at the same moment?"""

import asyncio
import threading
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.rules.user import UserAction
from gateway.store import transactions
from gateway.store.tables import transactions as rows
from tests.scenarios.bench import Bench, run


def test_a_transaction_created_while_its_user_is_deleted_is_cancelled_with_the_others(
    any_bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    run(any_bench.enrol("anna"))
    reached, go = threading.Event(), threading.Event()
    insert = transactions.insert_transactions

    def insert_slowly(*values: Any) -> None:
        reached.set()
        go.wait(30)
        insert(*values)

    monkeypatch.setattr(transactions, "insert_transactions", insert_slowly)

    async def both() -> str:
        creating = asyncio.ensure_future(any_bench.ask_to_confirm("anna"))
        assert await asyncio.to_thread(reached.wait, 30)
        deleting = asyncio.ensure_future(any_bench.change("anna", UserAction.DELETE))
        await asyncio.wait([deleting], timeout=1)
        go.set()
        await deleting
        return await creating

    name = run(both())
    (row,) = any_bench.rows(sa.select(rows).where(rows.c.id == name))
    assert (row.status, row.reason) == ("cancelled", "user_deleted")
