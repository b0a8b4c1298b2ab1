"""Are answers that are decided together decided as each would be alone, and does none spoil its neighbours?"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.api.client.door import _reply
from gateway.refusals import Outage, Refusal
from gateway.rules.user import UserAction
from gateway.scenarios.authentication import ClientRequest
from gateway.scenarios.together import Together
from gateway.scenarios.transactions import cancel_transaction
from gateway.scenarios.winning import Decided
from gateway.store import users
from gateway.store.tables import attempts, deliveries, events, replays, transactions
from gateway.wire.request import parse_envelope
from hsm.device import Device
from hsm.keys import KeyRef
from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Shown
from tests.counterparts.phone_wire import answer_proof
from tests.scenarios.bench import ORIGIN, Bench, opened_bench, run
from tests.store.databases import KINDS, migrated_database

APPROVE, DECLINE = "transactions.approve", "transactions.decline"
VARYING = {
    "id",
    "number",
    "transaction_id",
    "keyset_id",
    "user_id",
    "authcode",
    "code",
    "signature",
    "receipt",
    "body",
}
VARYING |= {"body_sha256", "content_sha256", "binding", "device_id"}


@pytest.fixture(params=KINDS)
def told_bench(request: pytest.FixtureRequest, tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """A bench whose application takes callbacks, on each kind of database."""
    with (
        migrated_database(request.param, tmp_path) as database,
        opened_bench(database, own_device, callback_url="https://bank.example/told") as made,
    ):
        yield made


def _shown(bench: Bench, user: str) -> Shown:
    name = run(bench.ask_to_confirm(user))
    return Shown(
        transaction=name,
        kind="sign",
        title="Payment",
        media_type="text/plain",
        content=b"Pay 10 EUR",
        digits=8,
        expires="",
    )


def _request(phone: Phone, shown: Shown, action: str = APPROVE, **changed: Any) -> ClientRequest:
    body = {**phone.confirmation_body(shown, 1 if action == APPROVE else 2), **changed}
    raw = phone.envelope(action, body)
    code = phone.authcode(raw)
    origin = replace(ORIGIN, action=action, authcode=code)
    return ClientRequest(raw=raw, envelope=parse_envelope(raw, action), authcode=code, origin=origin)


def _decide(
    bench: Bench, *requests: ClientRequest, meanwhile: Callable[[], None] = lambda: None
) -> list[Decided | None]:
    """Decide them in one batch; `meanwhile` happens once, when they are proved and not yet settled."""
    happened = []

    def write(view: dict[str, Any]) -> Any:
        if not happened:
            happened.append(True)
            meanwhile()
        return _reply(view)

    async def all_at_once() -> list[Decided | None]:
        answers = Together(bench.ctx, write, at_once=1)
        return await asyncio.gather(*(answers.decide(request) for request in requests))

    return run(all_at_once())


def _alone(bench: Bench, phone: Phone, request: ClientRequest) -> str:
    try:
        answer = run(bench.send(phone, request.envelope.action, request.raw))
    except Refusal as refusal:
        return refusal.problem.code
    return str(answer["status"])


def _status(bench: Bench, shown: Shown) -> str:
    (row,) = bench.rows(sa.select(transactions.c.status).where(transactions.c.id == shown.transaction))
    return str(row.status)


def _written(bench: Bench, shown: Shown) -> list[dict[str, Any]]:
    """Everything that is written of a transaction, without what differs between any two."""
    tables = (transactions, attempts, events, deliveries)
    found: list[dict[str, Any]] = []
    for table in tables:
        name = table.c.id if table is transactions else table.c.transaction_id
        rows = bench.rows(sa.select(table).where(name == shown.transaction))
        found += [{key: value for key, value in row._mapping.items() if key not in VARYING} for row in rows]
    return found


def test_what_is_written_of_answers_decided_together_is_what_is_written_of_single_ones(told_bench: Bench):
    bench = told_bench
    phones = [run(bench.enrol(name)) for name in ("anna", "berta", "carla", "dora")]
    for action, status in ((APPROVE, "confirmed"), (DECLINE, "declined")):
        shown = [_shown(bench, name) for name in ("anna", "berta", "carla", "dora")]
        requests = [_request(phone, each, action) for phone, each in zip(phones, shown, strict=True)]
        assert _alone(bench, phones[0], requests[0]) == status
        decided = _decide(bench, *requests[1:])
        expected = _written(bench, shown[0])
        assert len(expected) == 5  # created and settled, its attempt, its callback
        for phone, request, each, answer in zip(phones[1:], requests[1:], shown[1:], decided, strict=True):
            assert answer is not None
            reply, code = answer.reply, phone.authcode(request.raw)
            proof = answer_proof(
                phone.keys.kauth, code, reply.status, reply.content_type.encode(), reply.body
            )
            assert answer.proof == proof
            assert _written(bench, each) == expected
            assert _alone(bench, phone, request) == "authentication_failed"  # it is used up
    assert len(bench.rows("SELECT * FROM contents")) == 0
    told = bench.rows(sa.select(deliveries.c.body).where(deliveries.c.transaction_id.is_not(None)))
    bodies = [row.body for row in told]
    assert len(bodies) == 8
    assert all('"sequence":1' in body and '"receipt":"ey' in body for body in bodies)


def test_whatever_is_not_plain_leaves_without_a_trace_and_spoils_nobody(any_bench: Bench):
    bench = any_bench
    anna, berta, carla = (run(bench.enrol(name)) for name in ("anna", "berta", "carla"))
    shown = [_shown(bench, "anna") for _ in range(6)]
    of_berta, settled = _shown(bench, "berta"), _shown(bench, "anna")
    run(cancel_transaction(bench.ctx, bench.asker, settled.transaction, None, ORIGIN))
    right, of_other = _request(anna, shown[0]), _request(berta, of_berta)
    foreign = right.envelope
    run(bench.change("carla", UserAction.BLOCK))
    odd = [
        _request(anna, shown[1], code="A" * 43 + "="),
        _request(anna, shown[2], step=1),
        replace(_request(anna, shown[3]), authcode=bytes(32)),
        replace(_request(anna, shown[4]), envelope=replace(foreign, keyset="ks_unknown")),
        _request(anna, of_berta),
        _request(anna, settled),
        _request(anna, shown[5], code=1),
        _request(carla, _shown(bench, "anna")),
        right,
        _request(anna, shown[0]),
    ]
    before = [len(bench.rows(sa.select(table))) for table in (events, attempts, replays)]
    decided = _decide(bench, right, *odd, of_other)
    assert [each is not None for each in decided] == [True] + [False] * len(odd) + [True]
    after = [len(bench.rows(sa.select(table))) for table in (events, attempts, replays)]
    assert [new - old for new, old in zip(after, before, strict=True)] == [2, 2, 2]
    assert bench.failures("anna") == 0
    codes = [_alone(bench, anna, request) for request in odd[:3]]
    assert codes == ["proof_refused", "proof_refused", "confirmed"]


def test_who_failed_before_is_decided_alone_where_the_count_begins_anew(bench: Bench):
    phone = run(bench.enrol("anna"))
    with pytest.raises(Refusal):
        run(bench.approve_wrongly(phone, _shown(bench, "anna")))
    request = _request(phone, _shown(bench, "anna"))
    assert _decide(bench, request) == [None]
    assert _alone(bench, phone, request) == "confirmed"
    assert bench.failures("anna") == 0


@pytest.mark.parametrize("what", ["user", "transaction", "mark", "lock"])
def test_what_happens_between_proof_and_decision_stops_the_one_and_not_the_other(any_bench: Bench, what: str):
    bench = any_bench
    if what == "lock" and bench.ctx.database.is_sqlite:
        pytest.skip("SQLite locks no rows")
    anna, berta = run(bench.enrol("anna")), run(bench.enrol("berta"))
    shown = [_shown(bench, "anna"), _shown(bench, "berta")]
    requests = [_request(anna, shown[0]), _request(berta, shown[1])]
    with contextlib.ExitStack() as held:

        def meanwhile() -> None:
            if what == "user":
                bench.write(
                    "UPDATE users SET status = 'blocked', version = version + 1 WHERE user_id = 'anna'"
                )
            elif what == "transaction":
                bench.write(
                    "UPDATE transactions SET status = 'cancelled' WHERE id = :id", id=shown[0].transaction
                )
            elif what == "mark":
                bench.write(
                    "INSERT INTO replays VALUES (:keyset, :code, :until)",
                    keyset=requests[0].envelope.keyset,
                    code=requests[0].authcode,
                    until=bench.clock.now(),
                )
            else:
                connection = held.enter_context(bench.ctx.database.unit())
                users.lock_user(connection, bench.asker.application.id, "anna")

        decided = _decide(bench, *requests, meanwhile=meanwhile)
    assert [each is not None for each in decided] == [False, True]
    assert _status(bench, shown[0]) != "confirmed"
    assert _status(bench, shown[1]) == "confirmed"
    kept = bench.rows(sa.select(attempts.c.transaction_id))
    assert [row.transaction_id for row in kept] == [shown[1].transaction]


def test_a_key_that_is_gone_sends_its_whole_batch_to_be_decided_one_by_one(bench: Bench):
    anna, berta = run(bench.enrol("anna")), run(bench.enrol("berta"))
    shown = [_shown(bench, "anna"), _shown(bench, "berta")]
    requests = [_request(anna, shown[0]), _request(berta, shown[1])]
    bench.device.destroy(KeyRef.parse(bench.keyset(requests[0].envelope.keyset).khmac))
    assert _decide(bench, *requests) == [None, None]
    assert _status(bench, shown[1]) == "pending"
    assert _alone(bench, berta, requests[1]) == "confirmed"


@pytest.mark.parametrize("changed", ["kind = 'x'", "status = 'x'", "created_at = 'x'"])
def test_a_row_that_cannot_be_read_spoils_the_answers_to_no_other(bench: Bench, changed: str):
    phones = [run(bench.enrol(name)) for name in ("anna", "berta")]
    shown = [_shown(bench, name) for name in ("anna", "berta")]
    requests = [_request(phone, each) for phone, each in zip(phones, shown, strict=True)]
    bench.write(f"UPDATE transactions SET {changed} WHERE id = :id", id=shown[0].transaction)  # noqa: S608
    assert _decide(bench, *requests) == [None, None]
    assert _alone(bench, phones[1], requests[1]) == "confirmed"


def test_a_slow_device_is_asked_about_each_answer_in_a_turn_of_its_own(bench: Bench):
    phones = [run(bench.enrol(name)) for name in ("anna", "berta", "carla")]
    answers = Together(bench.ctx, _reply, at_once=1)

    async def all_at_once(requests: list[ClientRequest]) -> list[Decided | None]:
        return await asyncio.gather(*(answers.decide(request) for request in requests))

    def turns() -> int:
        operations = bench.device.snapshot().operations
        return operations.get(("turn", "ok"), 0)

    def decide() -> int:
        shown = [_shown(bench, name) for name in ("anna", "berta", "carla")]
        before = turns()
        decided = run(all_at_once([_request(*pair) for pair in zip(phones, shown, strict=True)]))
        assert None not in decided
        return turns() - before

    assert decide() == 1
    bench.ctx.turns._seconds["phones"].extend([0.02] * 20)
    assert decide() == 3


def test_an_answer_whose_commit_nobody_heard_of_is_not_called_a_repeat(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    phone, shown = run(bench.enrol("anna")), _shown(bench, "anna")
    dialect = bench.ctx.database.engine.dialect
    commit = dialect.do_commit

    def commit_unheard(connection: Any) -> None:
        commit(connection)
        raise sqlite3.OperationalError("the line broke")

    lose = partial(monkeypatch.setattr, dialect, "do_commit", commit_unheard)
    with pytest.raises(Outage):  # the phone is told to ask again
        _decide(bench, _request(phone, shown), meanwhile=lose)
    monkeypatch.undo()
    assert _alone(bench, phone, _request(phone, shown)) == "confirmed"
    assert bench.rows(sa.select(events).where(events.c.type == "client.authentication_failed")) == []
