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
from gateway.rules.policy import Policy, from_json
from gateway.store import transactions
from gateway.store.tables import authentications, deliveries, events
from gateway.wire.timestep import format_time
from hsm.device import Device
from tests.counterparts.phone import Phone
from tests.counterparts.phone_tlv import b64
from tests.counterparts.phone_wire import Operation
from tests.scenarios.bench import Bench, opened_bench, run
from tests.store.databases import KINDS, migrated_database

TEXT = "text/plain; charset=utf-8"
RULES: list[dict[str, str]] = [
    {"name": "login", "media_type": TEXT, "template": "Log in to Bank, {user}, {time}"},
    {"name": "door", "media_type": TEXT, "template": "Open the door, {step}"},
]
POLICY: Policy = from_json({"authentication_rules": RULES})
CALLBACK = "https://bank.example/told"
WRONG = "A" * 43 + "="


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest, tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """A bench with rules, on each kind of database."""
    with (
        migrated_database(request.param, tmp_path) as database,
        opened_bench(database, own_device, POLICY, CALLBACK) as made,
    ):
        yield made


def _content(bench: Bench, phone: Phone, seconds: int = 0) -> bytes:
    moment = bench.clock.moment.fromtimestamp(
        bench.clock.moment.timestamp() + seconds, bench.clock.moment.tzinfo
    )
    return f"Log in to Bank, {phone.account.user}, {format_time(moment)}".encode()


def _body(phone: Phone, content: bytes, *, step: int | None = None, **changed: Any) -> dict[str, Any]:
    message = phone.message(Operation.AUTHENTICATE, TEXT, hashlib.sha256(content).digest(), step=step)
    return {"media_type": TEXT, "content": b64(content), **phone.proofs(message), **changed}


async def _authenticate(bench: Bench, phone: Phone, body: dict[str, Any]) -> Any:
    return await bench.ask(phone, "authentications.create", body)


def _refused(bench: Bench, phone: Phone, body: dict[str, Any], code: str) -> None:
    with pytest.raises(Refusal) as refused:
        run(_authenticate(bench, phone, body))
    assert refused.value.problem.code == code


def _kept(bench: Bench) -> list[Any]:
    return bench.rows(sa.select(authentications).order_by(authentications.c.id))


def _events(bench: Bench, type_: str) -> list[Any]:
    return bench.rows(sa.select(events).where(events.c.type == type_))


def _callbacks(bench: Bench) -> list[dict[str, Any]]:
    rows = bench.rows(sa.select(deliveries).where(deliveries.c.type == "authentication.confirmed"))
    return [json.loads(row.body) for row in rows]


def test_right_content_authenticates_and_the_application_is_told_with_a_receipt(bench: Bench):
    phone = run(bench.enrol("anna"))
    content = _content(bench, phone)
    body = _body(phone, content)
    answer = run(_authenticate(bench, phone, body))
    (row,) = _kept(bench)
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
    (event,) = _events(bench, "authentication.confirmed")
    assert (event.user_id, event.keyset_id, event.detail["authentication"]) == ("anna", row.keyset_id, row.id)


def test_the_content_is_kept_nowhere(bench: Bench):
    phone = run(bench.enrol("anna"))
    content = _content(bench, phone)
    run(_authenticate(bench, phone, _body(phone, content)))
    for table in (authentications, events, deliveries):
        for row in bench.rows(sa.select(table)):
            assert "Log in to Bank" not in str(row)
            assert b64(content) not in str(row)


def test_the_same_message_serves_once_and_the_phone_that_lost_the_answer_gets_it_again(bench: Bench):
    phone = run(bench.enrol("anna"))
    body = _body(phone, _content(bench, phone))
    first = run(_authenticate(bench, phone, body))
    assert run(_authenticate(bench, phone, body)) == first
    assert len(_kept(bench)) == len(_callbacks(bench)) == 1
    assert (
        len(_events(bench, "authentication.confirmed")) == len(_events(bench, "authentication.repeated")) == 1
    )
    run(_authenticate(bench, phone, _body(phone, _content(bench, phone, 1))))
    assert len(_kept(bench)) == len(_callbacks(bench)) == 2


def test_of_many_that_present_one_authentication_at_once_one_counts(bench: Bench):
    phone = run(bench.enrol("anna"))
    body = _body(phone, _content(bench, phone))

    async def present() -> list[Any]:
        return await asyncio.gather(*(_authenticate(bench, phone, body) for _ in range(6)))

    answers = run(present())
    assert {answer["authentication"] for answer in answers} == {row.id for row in _kept(bench)}
    assert len(_kept(bench)) == len(_callbacks(bench)) == len(_events(bench, "authentication.confirmed")) == 1
    assert len(_events(bench, "authentication.repeated")) == 5


@pytest.mark.parametrize(
    "content", [b"Log in to Bank, bert, 2030-06-01T12:00:00Z", b"Pay 10 EUR", b"Log in to Bank, anna, now"]
)
def test_content_that_follows_no_rule_is_refused_and_does_not_count(bench: Bench, content: bytes):
    phone = run(bench.enrol("anna"))
    _refused(bench, phone, _body(phone, content), "not_allowed_by_policy")
    assert (_kept(bench), bench.failures("anna")) == ([], 0)


@pytest.mark.parametrize("seconds", [-600, 600])
def test_a_time_out_of_the_window_is_refused_like_a_wrong_step(bench: Bench, seconds: int):
    phone = run(bench.enrol("anna"))
    _refused(bench, phone, _body(phone, _content(bench, phone, seconds)), "proof_refused")
    _refused(bench, phone, _body(phone, _content(bench, phone), step=phone.step() + 5), "proof_refused")
    assert (_kept(bench), bench.failures("anna")) == ([], 0)
    assert {event.reason for event in _events(bench, "authentication.refused")} == {"wrong step"}


def test_the_step_in_the_content_is_the_one_of_the_proofs(bench: Bench):
    phone = run(bench.enrol("anna"))
    step = phone.step()

    def content(of: int) -> bytes:
        start = bench.clock.moment.fromtimestamp(of * 180, bench.clock.moment.tzinfo)
        return f"Open the door, {format_time(start)}".encode()

    _refused(bench, phone, _body(phone, content(step - 1), step=step), "proof_refused")
    run(_authenticate(bench, phone, _body(phone, content(step), step=step)))
    run(_authenticate(bench, phone, _body(phone, content(step - 1), step=step - 1)))
    assert [row.rule for row in _kept(bench)] == ["door", "door"]


def test_wrong_codes_and_signatures_count_with_those_of_answers_and_block_at_the_fifth(bench: Bench):
    phone = run(bench.enrol("anna"))
    shown = run(bench.show(phone, run(bench.ask_to_confirm("anna"))))
    good = _body(phone, _content(bench, phone))
    other = _body(phone, _content(bench, phone, 1))
    for wrong in ({"code": WRONG}, {"signature": other["signature"]}, {"code": other["code"]}):
        _refused(bench, phone, good | wrong, "proof_refused")
    assert bench.failures("anna") == 3
    with pytest.raises(Refusal, match="proof_refused"):
        run(bench.approve_wrongly(phone, shown))
    assert len(_events(bench, "user.block_near")) == 1
    _refused(bench, phone, good | {"code": WRONG}, "proof_refused")
    assert len(_events(bench, "user.blocked")) == 1
    _refused(bench, phone, good, "authentication_failed")
    assert _kept(bench) == []


def test_a_right_one_starts_the_count_anew(bench: Bench):
    phone = run(bench.enrol("anna"))
    good = _body(phone, _content(bench, phone))
    _refused(bench, phone, good | {"code": WRONG}, "proof_refused")
    run(_authenticate(bench, phone, good))
    assert bench.failures("anna") == 0


def test_many_wrong_ones_at_once_get_no_more_than_five_tries(bench: Bench):
    phone = run(bench.enrol("anna"))
    good = _body(phone, _content(bench, phone))

    async def guess() -> list[Any]:
        guesses = [_authenticate(bench, phone, good | {"code": WRONG}) for _ in range(9)]
        return await asyncio.gather(*guesses, return_exceptions=True)

    codes = [each.problem.code for each in run(guess())]
    assert codes.count("proof_refused") == 5
    assert codes.count("authentication_failed") == 4
    _refused(bench, phone, good, "authentication_failed")


def test_without_a_signature_where_one_is_due_it_is_refused(bench: Bench):
    phone = run(bench.enrol("anna"))
    body = _body(phone, _content(bench, phone))
    del body["signature"]
    _refused(bench, phone, body, "proof_refused")


def test_the_proofs_of_an_authentication_approve_no_transaction(bench: Bench):
    phone = run(bench.enrol("anna"))
    shown = run(bench.show(phone, run(bench.ask_to_confirm("anna", text=_content(bench, phone)))))
    body = _body(phone, _content(bench, phone))
    proofs = {name: body[name] for name in ("step", "code", "signature")}
    with pytest.raises(Refusal, match="proof_refused"):
        run(bench.ask(phone, "transactions.approve", {"transaction": shown.transaction, **proofs}))


def test_a_keyset_that_authenticated_counts_as_used(bench: Bench):
    phone = run(bench.enrol("anna"))
    with bench.ctx.database.reading() as connection:
        assert not transactions.was_used(connection, phone.account.keyset)
    run(_authenticate(bench, phone, _body(phone, _content(bench, phone))))
    with bench.ctx.database.reading() as connection:
        assert transactions.was_used(connection, phone.account.keyset)
