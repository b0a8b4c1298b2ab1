"""Are transactions that several ask for at once made for each as if it had asked alone?"""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.refusals import Refusal
from gateway.rules.event import EventType
from gateway.rules.user import UserAction
from gateway.scenarios.creating import create_transaction
from gateway.scenarios.idempotency import Once
from gateway.store import users
from gateway.store.database import Blocked
from gateway.store.tables import contents, events, idempotency, transactions
from hsm.device import Device
from hsm.errors import DeviceUnavailable
from tests.scenarios.bench import ORIGIN, WISH, Bench, counted_units, opened_bench, run
from tests.store.databases import migrated_database, opened, url_of

ROWS = sa.select(transactions)


async def _ask(bench: Bench, key: str | None, body: int = 0, **changed: Any) -> tuple[str, bool]:
    once = Once(key, bytes([body]) * 32)
    view, new = await create_transaction(bench.ctx, bench.asker, replace(WISH, **changed), once, ORIGIN)
    return str(view["id"]), new


async def _all(*asked: Any) -> list[Any]:
    return await asyncio.gather(*asked, return_exceptions=True)


def _code(found: object) -> str:
    assert isinstance(found, Refusal)
    return found.problem.code


def test_what_is_asked_for_together_is_made_in_one_unit(any_bench: Bench, monkeypatch: pytest.MonkeyPatch):
    run(any_bench.enrol("anna"))
    units = counted_units(any_bench, monkeypatch)
    texts = [b"Pay %d EUR" % number for number in range(5)]
    found = run(_all(*(_ask(any_bench, f"key-{text!r}", content=text) for text in texts)))
    assert len(units) == 1
    assert [new for _, new in found] == [True] * 5
    parts = sa.select(contents.c.data).where(contents.c.transaction_id == sa.bindparam("of"))
    for (name, _), text in zip(found, texts, strict=True):
        assert any_bench.rows(parts.params(of=name)) == [(text,)]
    told = any_bench.rows(
        sa.select(events.c.transaction_id).where(events.c.type == EventType.TRANSACTION_CREATED)
    )
    assert {row[0] for row in told} == {name for name, _ in found}


def test_who_is_refused_takes_nothing_from_the_others_and_can_ask_again(any_bench: Bench):
    run(any_bench.enrol("anna"))
    run(any_bench.enrol("blocked"))
    run(any_bench.change("blocked", UserAction.BLOCK))
    run(any_bench.create_user("keyless"))
    who = ("anna", "nobody", "blocked", "keyless", "anna")
    found = run(_all(*(_ask(any_bench, f"key-{n}", user_id=user) for n, user in enumerate(who))))
    assert found[0][1]
    assert found[4][1]
    assert [_code(each) for each in found[1:4]] == ["not_found", "user_blocked", "no_active_keys"]
    assert {row.user_id for row in any_bench.rows(ROWS)} == {"anna"}
    assert {row.key for row in any_bench.rows(sa.select(idempotency))} == {"key-0", "key-4"}
    run(any_bench.change("blocked", UserAction.UNBLOCK))
    _, new = run(_ask(any_bench, "key-2", user_id="blocked"))
    assert new


def test_a_request_that_is_sent_twice_at_a_time_is_one_transaction(any_bench: Bench):
    run(any_bench.enrol("anna"))
    found = run(_all(_ask(any_bench, "one"), _ask(any_bench, "one"), _ask(any_bench, "one", body=1)))
    assert found[:2] == [(found[0][0], True), (found[0][0], False)]
    assert _code(found[2]) == "idempotency_mismatch"
    assert run(_ask(any_bench, "one")) == (found[0][0], False)
    assert len(any_bench.rows(ROWS)) == 1


def test_without_a_key_each_request_is_one_of_its_own(any_bench: Bench):
    run(any_bench.enrol("anna"))
    found = run(_all(*(_ask(any_bench, None) for _ in range(3))))
    assert len({name for name, _ in found}) == len(any_bench.rows(ROWS)) == 3


def test_what_the_database_does_not_take_is_nobody_elses_matter(any_bench: Bench):
    run(any_bench.enrol("anna"))
    odd = "1" * 300  # longer than the column, which PostgreSQL minds
    found = run(_all(_ask(any_bench, "one"), _ask(any_bench, odd), _ask(any_bench, "two")))
    assert found[0][1]
    assert found[2][1]
    made = {row.id for row in any_bench.rows(ROWS)}
    assert {found[0][0], found[2][0]} <= made
    assert isinstance(found[1], Exception) == (len(made) == 2)


def test_nothing_is_made_while_the_device_is_away(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    run(bench.enrol("anna"))

    def away(*_: object, **__: object) -> None:
        raise DeviceUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(Device, "together", away)
        found = run(_all(_ask(bench, "one"), _ask(bench, "two")))
    assert [type(each) for each in found] == [DeviceUnavailable] * 2
    assert bench.rows(ROWS) == []
    assert run(_ask(bench, "one"))[1]


def test_two_gateways_that_make_the_same_in_another_order_make_it_once(tmp_path: Path, own_device: Device):
    with migrated_database("postgresql", tmp_path) as database, opened_bench(database, own_device) as here:
        run(here.enrol("anna"))
        run(here.enrol("berta"))
        with opened(url_of(database)) as second, opened_bench(second, own_device) as there:
            there.asker = here.asker
            asked = [(f"key-{n}", user) for n in range(8) for user in ("anna", "berta")]

            async def both() -> list[Any]:
                forth = [_ask(here, key + user, user_id=user) for key, user in asked]
                back = [_ask(there, key + user, user_id=user) for key, user in reversed(asked)]
                return await _all(*forth, *back)

            found = run(both())
        assert [each for each in found if isinstance(each, Exception)] == []
        assert len({name for name, _ in found}) == len(here.rows(ROWS)) == len(asked)
        assert sum(new for _, new in found) == len(asked)


def test_who_waits_for_a_user_that_somebody_holds_waits_outside(any_bench: Bench):
    if any_bench.ctx.database.is_sqlite:
        pytest.skip("SQLite locks no rows")
    for user in ("anna", "berta"):
        run(any_bench.enrol(user))

    async def meanwhile() -> list[tuple[str, bool]]:
        with any_bench.ctx.database.unit() as holding:
            users.lock_user(holding, any_bench.asker.application.id, "berta")
            waiting = asyncio.create_task(_ask(any_bench, "one", user_id="berta"))
            await asyncio.sleep(0.05)  # it is a group by itself
            async with asyncio.timeout(4):  # less than one may wait for a lock
                found = await _ask(any_bench, "two")
        return [found, await waiting]

    assert [new for _, new in run(meanwhile())] == [True, True]


def test_a_user_that_somebody_holds_keeps_nobody_else_from_a_transaction(tmp_path: Path, own_device: Device):
    with (
        migrated_database("postgresql", tmp_path) as database,
        opened(f"{url_of(database)}&options=-c%20lock_timeout=150ms") as hasty,
        opened_bench(hasty, own_device) as bench,
    ):
        run(bench.enrol("anna"))
        run(bench.enrol("berta"))
        with database.unit() as holding:
            users.lock_user(holding, bench.asker.application.id, "berta")
            found = run(_all(_ask(bench, "one"), _ask(bench, "two", user_id="berta"), _ask(bench, "three")))
        assert [type(each) for each in found] == [tuple, Blocked, tuple]
        assert run(_ask(bench, "two", user_id="berta"))[1]
