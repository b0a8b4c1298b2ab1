"""Is a right code that comes with others settled as one that comes alone, and does it wait for none of them?"""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.refusals import Outage
from gateway.rules.event import EventType
from gateway.rules.policy import Policy
from gateway.scenarios.transactions import fetch_transaction
from gateway.store import users
from gateway.store.tables import deliveries, events, transactions
from hsm.device import Device
from tests.counterparts.phone import Phone
from tests.scenarios.bench import Bench, counted_units, opened_bench, run
from tests.scenarios.short_codes import codes_of, submit
from tests.store.databases import KINDS, migrated_database

PEOPLE = ("anna", "berta", "carla")
POLICY = Policy(offline_allowed=True)
WAIT_SECONDS = 4  # PostgreSQL gives a lock up after five


@pytest.fixture(params=KINDS)
def any_bench(request: pytest.FixtureRequest, tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """A bench on each kind of database, under a policy that allows short codes, with callbacks."""
    with (
        migrated_database(request.param, tmp_path) as database,
        opened_bench(database, own_device, POLICY, "https://bank.example/callbacks") as made,
    ):
        yield made


@pytest.fixture
def phones(any_bench: Bench) -> dict[str, Phone]:
    """Phones of several people."""
    return {user: run(any_bench.enrol(user)) for user in PEOPLE}


@pytest.fixture
def codes(any_bench: Bench, phones: dict[str, Phone]) -> list[tuple[str, str]]:
    """A transaction of each person, and the code that the phone shows."""
    return codes_of(any_bench, phones)


def _told(bench: Bench, transaction: str) -> tuple[set[str], set[str], int]:
    """Return what the event and the callback of a settled transaction carry, and the callback's number."""
    of = events.c.transaction_id == transaction
    (event,) = bench.rows(sa.select(events).where(of, events.c.type == EventType.TRANSACTION_SETTLED))
    (callback,) = bench.rows(sa.select(deliveries).where(deliveries.c.transaction_id == transaction))
    body = json.loads(callback.body)
    assert body["type"] == "transaction.confirmed"
    assert body["data"]["transaction"] == {
        name: value
        for name, value in run(fetch_transaction(bench.ctx, bench.asker, transaction)).items()
        if name not in ("attempts", "confirmation", "receipt")
    }
    told = {name for name, value in event._mapping.items() if value is not None}
    return told, {*body["data"], *body["data"]["confirmation"]}, callback.sequence


def test_it_leaves_the_same_behind(any_bench: Bench, codes: list[tuple[str, str]]):
    found = run(submit(any_bench, codes[:1])) + run(submit(any_bench, codes[1:]))
    stored = [run(fetch_transaction(any_bench.ctx, any_bench.asker, name)) for name, _ in codes]
    assert found == stored
    alone, *together = [_told(any_bench, name) for name, _ in codes]
    assert together == [alone] * 2


def test_a_group_takes_as_many_statements_whatever_its_size(
    any_bench: Bench, phones: dict[str, Phone], codes: list[tuple[str, str]]
) -> None:
    later = codes_of(any_bench, phones)
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    sa.event.listen(any_bench.ctx.database.engine, "before_cursor_execute", note)
    run(submit(any_bench, codes[:2]))
    of_two = [*statements]
    statements.clear()
    assert [each["status"] for each in run(submit(any_bench, later))] == ["confirmed"] * 3
    assert len(statements) == len(of_two)


def test_who_failed_before_is_judged_alone_and_starts_anew(
    any_bench: Bench, codes: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    any_bench.write("UPDATE users SET failures = 2 WHERE user_id = 'berta'")
    units = counted_units(any_bench, monkeypatch)
    found = run(submit(any_bench, codes))
    assert [each["status"] for each in found] == ["confirmed"] * 3
    assert any_bench.failures("berta") == 0
    assert len(units) == 2


def test_it_does_not_wait_for_one_whose_user_somebody_holds(any_bench: Bench, codes: list[tuple[str, str]]):
    bench = any_bench
    if bench.ctx.database.is_sqlite:
        pytest.skip("SQLite locks no rows")
    held, settled = threading.Event(), threading.Event()

    def hold() -> None:
        with bench.ctx.database.unit() as connection:
            users.lock_user(connection, bench.asker.application.id, "berta")
            held.set()
            settled.wait(WAIT_SECONDS)

    async def others_are_settled() -> bool:
        until = time.monotonic() + WAIT_SECONDS
        statement = sa.select(transactions.c.id).where(transactions.c.status == "confirmed")
        while time.monotonic() < until:
            if {row.id for row in bench.rows(statement)} == {codes[0][0], codes[2][0]}:
                return True
            await asyncio.sleep(0.01)
        return False

    async def all_at_once() -> tuple[list[Any], bool]:
        asked = asyncio.create_task(submit(bench, codes))
        were_settled = await others_are_settled()
        settled.set()
        return await asked, were_settled

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    found, were_settled = run(all_at_once())
    holder.join()
    assert were_settled
    assert [each["status"] for each in found] == ["confirmed"] * 3


def test_guesses_for_a_user_whom_somebody_holds_keep_nobody_else_from_an_answer(
    any_bench: Bench, codes: list[tuple[str, str]]
) -> None:
    bench = any_bench
    if bench.ctx.database.is_sqlite:
        pytest.skip("SQLite locks no rows")
    wrong = codes[1][0], f"{(int(codes[1][1]) + 1) % 10**8:08}"

    async def meanwhile() -> list[Any]:
        with bench.ctx.database.unit() as connection:
            users.lock_user(connection, bench.asker.application.id, "berta")
            waiting = [asyncio.create_task(submit(bench, [wrong]))]
            await asyncio.sleep(0.05)  # it is a group by itself
            waiting.append(asyncio.create_task(submit(bench, [wrong, wrong])))
            async with asyncio.timeout(WAIT_SECONDS):
                found = await submit(bench, [codes[0], codes[2]])
        return [*found, *await waiting[0], *await waiting[1]]

    found = run(meanwhile())
    assert [each["status"] for each in found[:2]] == ["confirmed"] * 2
    assert [each.problem.code for each in found[2:]] == ["proof_refused"] * 3
    assert bench.failures("berta") == 3


def test_who_is_left_when_the_database_goes_away_is_told_at_once(
    any_bench: Bench, codes: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    any_bench.write("UPDATE users SET failures = 1 WHERE user_id <> 'anna'")
    asked: list[str] = []
    unit = type(any_bench.ctx.database).unit

    def once(self: Any) -> Any:
        asked.append("unit")
        if len(asked) > 1:
            raise Outage("away")
        return unit(self)

    with monkeypatch.context() as patch:
        patch.setattr(type(any_bench.ctx.database), "unit", once)
        found = run(submit(any_bench, codes))
    assert found[0]["status"] == "confirmed"
    assert [type(each) for each in found[1:]] == [Outage] * 2
    assert len(asked) == 2
    again = run(submit(any_bench, codes[1:]))
    assert [each["status"] for each in again] == ["confirmed"] * 2
