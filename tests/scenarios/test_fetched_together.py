"""Are transactions and contents that phones ask for together told as alone, and only to whom they are for?"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from gateway.api.client.door import _reply
from gateway.refusals import Refusal
from gateway.scenarios import together
from gateway.scenarios.authentication import ClientRequest
from gateway.scenarios.phone_fetching import SMALL_BYTES
from gateway.scenarios.phone_reading import CONTENT, GET
from gateway.scenarios.winning import Decided
from gateway.store.tables import events, replays
from gateway.wire.request import parse_envelope
from hsm.device import Device
from hsm.errors import DeviceUnavailable
from tests.counterparts.phone import Phone
from tests.counterparts.phone_wire import answer_proof
from tests.scenarios.bench import ORIGIN, Bench, run

PEOPLE = ("anna", "berta")
_VARYING = {"id", "number", "authcode", "body_sha256", "created_at"}


def _request(phone: Phone, action: str, **body: Any) -> ClientRequest:
    raw = phone.envelope(action, body)
    code = phone.authcode(raw)
    origin = replace(ORIGIN, action=action, authcode=code)
    return ClientRequest(raw=raw, envelope=parse_envelope(raw, action), authcode=code, origin=origin)


def _part(transaction: str, offset: int = 0, length: int = 100) -> dict[str, Any]:
    return {"transaction": transaction, "offset": offset, "length": length}


async def _decide(bench: Bench, requests: Sequence[ClientRequest]) -> list[Decided | None]:
    room = together.Together(bench.ctx, _reply, at_once=1)
    return await asyncio.gather(*map(room.decide, requests))


def _lines(bench: Bench, user: str, action: str) -> list[dict[str, Any]]:
    asked = sa.and_(events.c.user_id == user, events.c.type == "client.request", events.c.action == action)
    rows = bench.rows(sa.select(events).where(asked))
    return [{name: value for name, value in row._mapping.items() if name not in _VARYING} for row in rows]


def _traces(bench: Bench) -> list[int]:
    return [len(bench.rows(sa.select(table))) for table in (events, replays)]


def test_what_is_told_and_written_is_the_same_as_alone(any_bench: Bench) -> None:
    bench = any_bench
    asked: list[tuple[Phone, str, dict[str, Any]]] = []
    for name in PEOPLE:
        phone = run(bench.enrol(name))
        transaction = run(bench.ask_to_confirm(name, f"Pay {name} 10 EUR".encode()))
        asked += [(phone, GET, {"transaction": transaction}), (phone, CONTENT, _part(transaction, 4))]
    alone = [_reply(run(bench.ask(*each))) for each in asked]
    requests = [_request(phone, action, **body) for phone, action, body in asked]
    found = run(_decide(bench, requests))
    for (phone, action, _), request, single, decided in zip(asked, requests, alone, found, strict=True):
        assert decided is not None
        assert decided.is_final
        assert decided.reply == single
        about = (single.status, single.content_type.encode(), single.body)
        assert decided.proof == answer_proof(phone.keys.kauth, phone.authcode(request.raw), *about)
        first, second = _lines(bench, phone.account.user, action)
        assert first == second
        assert first["transaction_id"]
        with pytest.raises(Refusal, match="authentication_failed"):  # it is used up
            run(bench.send(phone, action, request.raw))


def test_what_cannot_be_told_at_once_leaves_without_a_trace(any_bench: Bench) -> None:
    bench = any_bench
    anna, berta = run(bench.enrol("anna")), run(bench.enrol("berta"))
    small, large, declined, expired = (
        run(bench.ask_to_confirm("anna", text)) for text in (b"Pay", bytes(SMALL_BYTES + 1), b"No", b"Late")
    )
    body = anna.confirmation_body(run(bench.show(anna, declined)), 2)
    run(bench.ask(anna, "transactions.decline", body))
    bench.write("UPDATE transactions SET expires_at = created_at WHERE id = :id", id=expired)
    odd = [
        _request(berta, GET, transaction=small),
        _request(berta, CONTENT, **_part(small)),
        _request(anna, GET, transaction="txn_1"),
        _request(anna, GET, transaction=declined),
        _request(anna, CONTENT, **_part(declined)),
        _request(anna, GET, transaction=expired),
        _request(anna, CONTENT, **_part(large)),
        _request(anna, CONTENT, **_part(small, offset=3)),
    ]
    before = _traces(bench)
    found = run(_decide(bench, [_request(anna, GET, transaction=small), *odd]))
    assert [each is not None for each in found] == [True] + [False] * len(odd)
    assert [new - old for new, old in zip(_traces(bench), before, strict=True)] == [1, 1]


def test_a_content_is_told_beside_the_answer_to_it(any_bench: Bench) -> None:
    bench = any_bench
    phone = run(bench.enrol("anna"))
    shown = run(bench.show(phone, run(bench.ask_to_confirm("anna"))))
    answer = _request(phone, "transactions.approve", **phone.confirmation_body(shown, 1))
    content = _request(phone, CONTENT, **_part(shown.transaction))
    first, second = run(_decide(bench, [answer, content]))
    assert first is not None
    assert orjson.loads(first.reply.body)["status"] == "confirmed"
    assert second is not None
    assert second.reply.body == shown.content
    assert run(_decide(bench, [_request(phone, CONTENT, **_part(shown.transaction))])) == [None]


def test_a_row_that_cannot_be_told_is_nobody_elses_matter(bench: Bench) -> None:
    anna, berta = run(bench.enrol("anna")), run(bench.enrol("berta"))
    odd, shown = run(bench.ask_to_confirm("anna")), run(bench.show(berta, run(bench.ask_to_confirm("berta"))))
    bench.write(
        "UPDATE transactions SET title = x'ff' WHERE id = :id", id=odd
    )  # SQLite keeps values of any type
    answer = _request(berta, "transactions.approve", **berta.confirmation_body(shown, 1))
    found = run(_decide(bench, [_request(anna, GET, transaction=odd), answer]))
    assert found == [None, None]
    assert run(bench.send(berta, "transactions.approve", answer.raw))["status"] == "confirmed"


def test_where_the_device_goes_away_the_proof_is_still_to_be_made(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = run(bench.enrol("anna"))
    transaction = run(bench.ask_to_confirm("anna"))
    turn, turns = Device.together, list[str]()

    def once(self: Device, *given: Any, **named: Any) -> Any:
        turns.append("turn")
        if len(turns) > 1:
            raise DeviceUnavailable("away")
        return turn(self, *given, **named)

    monkeypatch.setattr(Device, "together", once)
    (decided,) = run(_decide(bench, [_request(phone, GET, transaction=transaction)]))
    assert decided is not None
    assert decided.proof is None
    assert orjson.loads(decided.reply.body)["transaction"] == transaction
