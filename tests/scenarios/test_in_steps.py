"""Is what several ask at once decided for each as if it had asked alone: short codes, verifications, readings?"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.refusals import Refusal
from gateway.rules.event import EventType
from gateway.rules.policy import Policy
from gateway.scenarios.questions import Question
from gateway.scenarios.transactions import fetch_transaction
from gateway.scenarios.verification import verify_signature
from gateway.store.tables import attempts, events, transactions
from hsm.device import Device
from hsm.errors import DeviceUnavailable
from tests.counterparts.phone import Phone
from tests.scenarios.bench import ORIGIN, Bench, counted_units, opened_bench, run
from tests.scenarios.short_codes import codes_of, submit
from tests.store.databases import KINDS, migrated_database

PEOPLE = ("anna", "berta", "carla")
POLICY = Policy(offline_allowed=True)


@pytest.fixture(params=KINDS)
def any_bench(request: pytest.FixtureRequest, tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """A bench on each kind of database, under a policy that allows short codes."""
    with (
        migrated_database(request.param, tmp_path) as database,
        opened_bench(database, own_device, POLICY) as made,
    ):
        yield made


@pytest.fixture
def phones(any_bench: Bench) -> dict[str, Phone]:
    """Phones of several people."""
    return {user: run(any_bench.enrol(user)) for user in PEOPLE}


def _question(bench: Bench, transaction: str) -> Question:
    (row,) = bench.rows(sa.select(attempts).where(attempts.c.transaction_id == transaction))
    return Question(
        about_id=transaction,
        operation="approve",
        content_sha256=None,
        step=row.step,
        code=row.code.decode(),
        signature=None,
    )


async def _verify(bench: Bench, questions: list[Question]) -> list[Any]:
    asked = [verify_signature(bench.ctx, bench.asker, each, ORIGIN) for each in questions]
    return await asyncio.gather(*asked, return_exceptions=True)


def _wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}}"


def test_codes_that_come_together_are_settled_in_one_unit(
    any_bench: Bench, phones: dict[str, Phone], monkeypatch: pytest.MonkeyPatch
):
    codes = codes_of(any_bench, phones)
    units = counted_units(any_bench, monkeypatch)
    found = run(submit(any_bench, codes))
    assert [(each["id"], each["status"]) for each in found] == [(name, "confirmed") for name, _ in codes]
    assert len(units) == 1


def test_a_wrong_code_counts_for_its_user_alone(any_bench: Bench, phones: dict[str, Phone]):
    codes = codes_of(any_bench, phones)
    codes[1] = codes[1][0], _wrong(codes[1][1])
    found = run(submit(any_bench, codes))
    assert [each["status"] for each in (found[0], found[2])] == ["confirmed"] * 2
    assert isinstance(found[1], Refusal)
    assert found[1].problem.code == "proof_refused"
    assert [any_bench.failures(user) for user in PEOPLE] == [0, 1, 0]


def test_guesses_that_come_together_are_counted_and_judged_one_after_the_other(
    any_bench: Bench, phones: dict[str, Phone]
):
    (transaction, code), *_ = codes_of(any_bench, phones)
    most = POLICY.failures_most
    guesses = [(transaction, _wrong(code))] * (most + 3)
    found = run(submit(any_bench, [*guesses, (transaction, code)]))
    assert all(isinstance(each, Refusal) for each in found)
    assert any_bench.rows("SELECT status FROM users WHERE user_id = 'anna'") == [("blocked",)]
    kept = any_bench.rows(sa.select(attempts).where(attempts.c.transaction_id == transaction))
    assert len(kept) == most
    (row,) = any_bench.rows(sa.select(transactions).where(transactions.c.id == transaction))
    assert row.status == "cancelled"


def test_of_two_codes_for_one_transaction_one_wins_and_the_others_are_settled(
    any_bench: Bench, phones: dict[str, Phone]
):
    codes = codes_of(any_bench, phones)
    found = run(submit(any_bench, [codes[0], codes[0], codes[1]]))
    assert found[0]["status"] == found[2]["status"] == "confirmed"
    assert isinstance(found[1], Refusal)
    assert found[1].problem.code == "transaction_settled"
    assert any_bench.failures("anna") == 0


def test_questions_that_come_together_are_answered_each_by_itself(
    any_bench: Bench, phones: dict[str, Phone], monkeypatch: pytest.MonkeyPatch
):
    codes = codes_of(any_bench, phones)
    run(submit(any_bench, codes))
    right = [_question(any_bench, name) for name, _ in codes]
    any_bench.write("UPDATE transactions SET title = 'Another' WHERE id = :id", id=codes[1][0])
    unknown = replace(right[0], about_id="txn_unknown")
    units = counted_units(any_bench, monkeypatch)
    found = run(_verify(any_bench, [right[0], unknown, right[1], right[2]]))
    assert [each["valid"] for each in (found[0], found[3])] == [True] * 2
    assert [each.problem.code for each in found[1:3]] == ["not_found", "integrity_failure"]
    assert len(units) == 1
    told = any_bench.rows(sa.select(events).where(events.c.type == EventType.SIGNATURE_VERIFIED))
    assert {row.transaction_id for row in told} == {codes[0][0], codes[2][0]}


def test_a_row_that_cannot_be_read_is_nobody_elses_matter(any_bench: Bench, phones: dict[str, Phone]):
    if not any_bench.ctx.database.is_sqlite:
        pytest.skip("PostgreSQL keeps moments alone in such a column")
    bench, codes = any_bench, codes_of(any_bench, phones)
    bench.write("UPDATE transactions SET created_at = 'yesterday' WHERE id = :id", id=codes[1][0])
    found = run(submit(bench, codes))
    assert [each["status"] for each in (found[0], found[2])] == ["confirmed"] * 2
    assert isinstance(found[1], Exception)


def test_nothing_is_decided_while_the_device_is_away(
    any_bench: Bench, phones: dict[str, Phone], monkeypatch: pytest.MonkeyPatch
):
    codes = codes_of(any_bench, phones)

    def away(*_: object, **__: object) -> None:
        raise DeviceUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(Device, "together", away)
        found = run(submit(any_bench, codes))
    assert [type(each) for each in found] == [DeviceUnavailable] * len(codes)
    assert [each["status"] for each in run(submit(any_bench, codes))] == ["confirmed"] * len(codes)


def test_who_asks_for_a_transaction_together_with_its_owner_is_not_told_of_it(
    any_bench: Bench, phones: dict[str, Phone]
):
    names = [name for name, _ in codes_of(any_bench, phones)]
    with opened_bench(any_bench.ctx.database, any_bench.device) as other:
        stranger = other.asker

    async def all_at_once() -> list[Any]:
        asked = [(any_bench.asker, names[0]), (stranger, names[0]), (any_bench.asker, names[1])]
        calls = [
            fetch_transaction(any_bench.ctx, *each) for each in [*asked, (any_bench.asker, "txn_unknown")]
        ]
        return await asyncio.gather(*calls, return_exceptions=True)

    found = run(all_at_once())
    assert [each["id"] for each in (found[0], found[2])] == names[:2]
    assert [each.problem.code for each in (found[1], found[3])] == ["not_found"] * 2
