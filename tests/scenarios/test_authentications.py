"""Does content that a phone made by a rule authenticate its user: once, in its time, and counted like an answer?"""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.refusals import Refusal
from gateway.store import transactions
from gateway.store.tables import authentications, deliveries, events
from hsm.device import Device
from tests.counterparts.phone_tlv import b64
from tests.scenarios.authenticating import (
    WRONG,
    authenticate,
    bench_with_rules,
    body_of,
    door_text,
    events_of,
    expect_refused,
    kept,
    login_text,
)
from tests.scenarios.bench import Bench, run
from tests.store.databases import KINDS


@pytest.fixture
def bench(tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """A bench with rules, on SQLite."""
    with bench_with_rules("sqlite", tmp_path, own_device) as made:
        yield made


@pytest.fixture(params=KINDS)
def any_bench(request: pytest.FixtureRequest, tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """The same on each kind of database, for what is decided by the database."""
    with bench_with_rules(request.param, tmp_path, own_device) as made:
        yield made


def _callbacks(bench: Bench) -> list[dict[str, Any]]:
    rows = bench.rows(sa.select(deliveries).where(deliveries.c.type == "authentication.confirmed"))
    return [json.loads(row.body) for row in rows]


def test_right_content_authenticates_and_the_application_is_told_with_a_receipt(any_bench: Bench):
    bench = any_bench
    phone = run(bench.enrol("anna"))
    content = login_text(bench, phone)
    body = body_of(phone, content)
    answer = run(authenticate(bench, phone, body))
    (row,) = kept(bench)
    assert answer == {"authentication": row.id, "status": "confirmed"}
    (told,) = _callbacks(bench)
    shown = told["data"]["authentication"]
    assert (shown["id"], shown["user"], shown["rule"], shown["keyset"]) == (
        row.id,
        "anna",
        "login",
        phone.account.keyset,
    )
    assert (shown["code"], shown["signature"], shown["step"]) == (
        body["code"],
        body["signature"],
        body["step"],
    )
    assert shown["verified"] == ["step", "code", "signature"]
    assert shown["content_sha256"] == b64(hashlib.sha256(content).digest())
    assert told["data"]["receipt"].count(".") == 2
    (event,) = events_of(bench, "authentication.confirmed")
    assert (event.user_id, event.keyset_id, event.detail["authentication"]) == ("anna", row.keyset_id, row.id)


def test_the_content_is_kept_nowhere(bench: Bench):
    phone = run(bench.enrol("anna"))
    content = login_text(bench, phone)
    run(authenticate(bench, phone, body_of(phone, content)))
    for table in (authentications, events, deliveries):
        for row in bench.rows(sa.select(table)):
            assert content.decode() not in str(row)
            assert b64(content) not in str(row)


def test_the_same_message_serves_once_and_the_phone_that_lost_the_answer_gets_it_again(any_bench: Bench):
    bench = any_bench
    phone = run(bench.enrol("anna"))
    body = body_of(phone, login_text(bench, phone))
    first = run(authenticate(bench, phone, body))
    assert run(authenticate(bench, phone, body)) == first
    assert len(kept(bench)) == len(_callbacks(bench)) == 1
    assert (
        len(events_of(bench, "authentication.confirmed"))
        == len(events_of(bench, "authentication.repeated"))
        == 1
    )
    run(authenticate(bench, phone, body_of(phone, login_text(bench, phone, 1))))
    assert len(kept(bench)) == len(_callbacks(bench)) == 2


def test_of_many_that_present_one_authentication_at_once_one_counts(any_bench: Bench):
    bench = any_bench
    phone = run(bench.enrol("anna"))
    body = body_of(phone, login_text(bench, phone))

    async def present() -> list[Any]:
        return await asyncio.gather(*(authenticate(bench, phone, body) for _ in range(6)))

    answers = run(present())
    assert {answer["authentication"] for answer in answers} == {row.id for row in kept(bench)}
    assert (
        len(kept(bench)) == len(_callbacks(bench)) == len(events_of(bench, "authentication.confirmed")) == 1
    )
    assert len(events_of(bench, "authentication.repeated")) == 5


@pytest.mark.parametrize(
    "content", [b"Log in to Bank, bert, 2030-06-01T12:00:00Z", b"Pay 10 EUR", b"Log in to Bank, anna, now"]
)
def test_content_that_follows_no_rule_is_refused_and_does_not_count(bench: Bench, content: bytes):
    phone = run(bench.enrol("anna"))
    expect_refused(bench, phone, body_of(phone, content), "not_allowed_by_policy")
    assert (kept(bench), bench.failures("anna")) == ([], 0)


@pytest.mark.parametrize("seconds", [-600, 600])
def test_a_time_out_of_the_window_is_refused_like_a_wrong_step(bench: Bench, seconds: int):
    phone = run(bench.enrol("anna"))
    expect_refused(bench, phone, body_of(phone, login_text(bench, phone, seconds)), "proof_refused")
    expect_refused(
        bench, phone, body_of(phone, login_text(bench, phone), step=phone.step() + 5), "proof_refused"
    )
    assert (kept(bench), bench.failures("anna")) == ([], 0)
    assert {event.reason for event in events_of(bench, "authentication.refused")} == {"wrong step"}


def test_the_step_in_the_content_is_the_one_of_the_proofs(bench: Bench):
    phone = run(bench.enrol("anna"))
    step = phone.step()

    expect_refused(bench, phone, body_of(phone, door_text(step - 1), step=step), "proof_refused")
    run(authenticate(bench, phone, body_of(phone, door_text(step), step=step)))
    run(authenticate(bench, phone, body_of(phone, door_text(step - 1), step=step - 1)))
    assert [row.rule for row in kept(bench)] == ["door", "door"]


def test_wrong_codes_and_signatures_count_with_those_of_answers_and_block_at_the_fifth(bench: Bench):
    phone = run(bench.enrol("anna"))
    shown = run(bench.show(phone, run(bench.ask_to_confirm("anna"))))
    good = body_of(phone, login_text(bench, phone))
    other = body_of(phone, login_text(bench, phone, 1))
    for wrong in ({"code": WRONG}, {"signature": other["signature"]}, {"code": other["code"]}):
        expect_refused(bench, phone, good | wrong, "proof_refused")
    assert bench.failures("anna") == 3
    with pytest.raises(Refusal, match="proof_refused"):
        run(bench.approve_wrongly(phone, shown))
    assert len(events_of(bench, "user.block_near")) == 1
    expect_refused(bench, phone, good | {"code": WRONG}, "proof_refused")
    assert len(events_of(bench, "user.blocked")) == 1
    expect_refused(bench, phone, good, "authentication_failed")
    assert kept(bench) == []


def test_a_right_one_starts_the_count_anew(bench: Bench):
    phone = run(bench.enrol("anna"))
    good = body_of(phone, login_text(bench, phone))
    expect_refused(bench, phone, good | {"code": WRONG}, "proof_refused")
    run(authenticate(bench, phone, good))
    assert bench.failures("anna") == 0


def test_many_wrong_ones_at_once_get_no_more_than_five_tries(any_bench: Bench):
    bench = any_bench
    phone = run(bench.enrol("anna"))
    good = body_of(phone, login_text(bench, phone))

    async def guess() -> list[Any]:
        guesses = [authenticate(bench, phone, good | {"code": WRONG}) for _ in range(9)]
        return await asyncio.gather(*guesses, return_exceptions=True)

    codes = [each.problem.code for each in run(guess())]
    assert codes.count("proof_refused") == 5
    assert codes.count("authentication_failed") == 4
    expect_refused(bench, phone, good, "authentication_failed")


def test_without_a_signature_where_one_is_due_it_is_refused(bench: Bench):
    phone = run(bench.enrol("anna"))
    body = body_of(phone, login_text(bench, phone))
    del body["signature"]
    expect_refused(bench, phone, body, "proof_refused")


def test_the_proofs_of_an_authentication_approve_no_transaction(bench: Bench):
    phone = run(bench.enrol("anna"))
    shown = run(bench.show(phone, run(bench.ask_to_confirm("anna", text=login_text(bench, phone)))))
    body = body_of(phone, login_text(bench, phone))
    proofs = {name: body[name] for name in ("step", "code", "signature")}
    with pytest.raises(Refusal, match="proof_refused"):
        run(bench.ask(phone, "transactions.approve", {"transaction": shown.transaction, **proofs}))


def test_a_keyset_that_authenticated_counts_as_used(bench: Bench):
    phone = run(bench.enrol("anna"))
    with bench.ctx.database.reading() as connection:
        assert not transactions.was_used(connection, phone.account.keyset)
    run(authenticate(bench, phone, body_of(phone, login_text(bench, phone))))
    with bench.ctx.database.reading() as connection:
        assert transactions.was_used(connection, phone.account.keyset)
