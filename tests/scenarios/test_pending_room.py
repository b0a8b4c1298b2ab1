"""Is there an end to what an application may have waiting, so that it neither fills the disk nor holds up others?"""

import asyncio
from dataclasses import replace

import pytest

from gateway.refusals import Refusal
from gateway.rules.transaction import LARGE_BYTES, WAITING_MOST
from gateway.rules.user import UserAction
from gateway.scenarios import pending_room
from gateway.scenarios.transactions import cancel_transaction
from gateway.store.tables import transactions
from tests.scenarios.bench import ORIGIN, Bench, run

LARGE = b"%" * (LARGE_BYTES + 1)


def _copy(bench: Bench, of: str, number: int) -> None:
    """Have so many more like this one, in no time."""
    names = ", ".join(column.name for column in transactions.c if column.name != "id")
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :number)"
    bench.write(
        f"{numbers} INSERT INTO transactions (id, {names}) SELECT id || '_' || i, {names} "  # noqa: S608
        "FROM transactions, n WHERE id = :of"
        if bench.ctx.database.is_sqlite
        else f"INSERT INTO transactions (id, {names}) SELECT id || '_' || i, {names} "  # noqa: S608
        "FROM transactions, generate_series(1, :number) i WHERE id = :of",
        of=of,
        number=number,
    )


def test_no_more_wait_for_a_user_than_its_phone_is_told_of(any_bench: Bench) -> None:
    bench = any_bench
    phone = run(bench.enrol("anna"))
    run(bench.enrol("bob"))
    first = run(bench.ask_to_confirm("anna"))
    _copy(bench, first, WAITING_MOST - 2)
    last = run(bench.ask_to_confirm("anna"))
    with pytest.raises(Refusal, match="too_many_pending"):
        run(bench.ask_to_confirm("anna"))
    told = run(bench.ask(phone, "transactions.pending", {}))["transactions"]
    assert {first, last} <= {each["transaction"] for each in told}
    assert len(told) == WAITING_MOST
    run(bench.ask_to_confirm("bob"))
    run(cancel_transaction(bench.ctx, bench.asker, first, None, ORIGIN))
    run(bench.ask_to_confirm("anna"))
    run(bench.change("anna", UserAction.DELETE))
    assert bench.rows("SELECT count(*) FROM transactions WHERE status = 'pending'") == [(1,)]


def test_of_many_asked_for_together_no_more_than_have_room_are_made(any_bench: Bench) -> None:
    bench = any_bench
    run(bench.enrol("anna"))
    _copy(bench, run(bench.ask_to_confirm("anna")), WAITING_MOST - 3)

    async def ask() -> list[str | BaseException]:
        return await asyncio.gather(*(bench.ask_to_confirm("anna") for _ in range(6)), return_exceptions=True)

    ended = run(ask())
    assert sum(isinstance(each, str) for each in ended) == 2
    refused = [each for each in ended if isinstance(each, Refusal)]
    assert [each.problem.code for each in refused] == ["too_many_pending"] * 4
    assert bench.rows("SELECT count(*) FROM transactions WHERE status = 'pending'") == [(WAITING_MOST,)]


def test_large_contents_of_all_users_together_have_an_end_and_small_ones_none(any_bench: Bench) -> None:
    narrow = replace(any_bench, ctx=replace(any_bench.ctx, pending_bytes_most=2 * len(LARGE)))
    for user in ("anna", "bob"):
        run(narrow.enrol(user))
    first = run(narrow.ask_to_confirm("anna", LARGE))
    run(narrow.ask_to_confirm("bob", LARGE))
    with pytest.raises(Refusal, match="too_many_pending") as refused:
        run(narrow.ask_to_confirm("anna", LARGE))
    assert f"there are {2 * len(LARGE)}" in str(refused.value.detail)
    run(narrow.ask_to_confirm("anna", LARGE[1:]))
    run(cancel_transaction(narrow.ctx, narrow.asker, first, None, ORIGIN))
    run(narrow.ask_to_confirm("anna", LARGE))


def test_what_waits_for_one_user_has_few_enough_bytes_to_end_in_one_unit(
    any_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = any_bench
    monkeypatch.setattr(pending_room, "USER_BYTES_MOST", 2 * len(LARGE))
    for user in ("anna", "bob"):
        run(bench.enrol(user))
    first = run(bench.ask_to_confirm("anna", LARGE))
    run(bench.ask_to_confirm("anna", LARGE))
    with pytest.raises(Refusal, match="too_many_pending"):
        run(bench.ask_to_confirm("anna", LARGE))
    run(bench.ask_to_confirm("anna", LARGE[1:]))  # a hundred small ones are no more than some megabytes
    run(bench.ask_to_confirm("bob", LARGE))
    run(cancel_transaction(bench.ctx, bench.asker, first, None, ORIGIN))
    with pytest.raises(
        Refusal, match="too_many_pending"
    ):  # small ones count as well, where there are large ones
        run(bench.ask_to_confirm("anna", LARGE))
