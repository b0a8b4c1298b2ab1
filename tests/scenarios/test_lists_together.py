"""Are lists of what waits that are asked for together given as each would be alone, and does who waits miss nothing?"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from gateway.api.client.door import _reply
from gateway.refusals import Refusal
from gateway.rules.user import UserAction
from gateway.scenarios import together
from gateway.scenarios.authentication import ClientRequest
from gateway.scenarios.change_watch import pending_topic
from gateway.scenarios.phone_reading import PENDING, listening, pending_after
from gateway.scenarios.winning import Decided
from gateway.store import transactions
from gateway.store.tables import events, replays
from gateway.wire.request import parse_envelope
from hsm.errors import DeviceUnavailable
from tests.counterparts.phone import Phone
from tests.counterparts.phone_wire import answer_proof
from tests.scenarios.bench import ORIGIN, Bench, run

NAMES = ("anna", "berta", "carla")
_WAIT = {"wait": 30}  # whoever waits for that long has missed something
_VARYING = {"id", "number", "user_id", "keyset_id", "authcode", "body_sha256", "created_at"}


def _request(
    phone: Phone, action: str = PENDING, body: Any = None, code: bytes | None = None
) -> ClientRequest:
    raw = phone.envelope(action, body or {})
    code = code or phone.authcode(raw)
    origin = replace(ORIGIN, action=action, authcode=code)
    return ClientRequest(raw=raw, envelope=parse_envelope(raw, action), authcode=code, origin=origin)


async def _decide(bench: Bench, requests: Sequence[ClientRequest]) -> list[Decided | None]:
    room = together.Together(bench.ctx, _reply, at_once=1)
    return await asyncio.gather(*map(room.decide, requests))


async def _wait(bench: Bench, request: ClientRequest, meanwhile: Any) -> dict[str, Any] | None:
    """Ask and wait as at the door; `meanwhile` happens between the two."""
    async with asyncio.timeout(10), listening(bench.ctx, request.envelope) as hearing:
        (decided,) = await _decide(bench, [request])
        assert decided is not None
        assert not decided.is_final
        await meanwhile()
        return await pending_after(bench.ctx, decided.caller, hearing)


def _lines(bench: Bench, user: str) -> list[dict[str, Any]]:
    rows = bench.rows(sa.select(events).where(events.c.user_id == user, events.c.type == "client.request"))
    return [{name: value for name, value in row._mapping.items() if name not in _VARYING} for row in rows]


def test_what_is_told_and_written_is_the_same_as_of_a_single_list(any_bench: Bench) -> None:
    bench = any_bench
    phones = [run(bench.enrol(name)) for name in NAMES]
    waiting = {
        name: [run(bench.ask_to_confirm(name)) for _ in NAMES[: 1 + place]]
        for place, name in enumerate(NAMES)
    }
    alone = [run(bench.ask(phone, PENDING, {})) for phone in phones]
    requests = [_request(phone) for phone in phones]
    decided = run(_decide(bench, requests))
    for name, phone, request, single, answer in zip(NAMES, phones, requests, alone, decided, strict=True):
        assert answer is not None
        assert answer.is_final
        told = orjson.loads(answer.reply.body)
        assert told == single
        assert [each["transaction"] for each in told["transactions"]] == sorted(waiting[name])
        about = (answer.reply.status, answer.reply.content_type.encode(), answer.reply.body)
        assert answer.proof == answer_proof(phone.keys.kauth, phone.authcode(request.raw), *about)
        first, second = _lines(bench, name)
        assert first == second
        with pytest.raises(Refusal, match="authentication_failed"):  # it is used up
            run(bench.send(phone, PENDING, request.raw))


def test_lists_and_answers_share_a_batch(any_bench: Bench) -> None:
    bench = any_bench
    phones = [run(bench.enrol(name)) for name in NAMES]
    shown = run(bench.show(phones[0], run(bench.ask_to_confirm("anna"))))
    body = phones[0].confirmation_body(shown, 1)
    requests = [_request(phones[0], "transactions.approve", body), *map(_request, phones[1:])]
    decided = run(_decide(bench, requests))
    told = [orjson.loads(each.reply.body) for each in decided if each is not None]
    assert [each.get("status", each.get("transactions")) for each in told] == ["confirmed", [], []]


def test_what_is_not_plain_leaves_without_a_trace(any_bench: Bench) -> None:
    bench = any_bench
    anna, berta = run(bench.enrol("anna")), run(bench.enrol("berta"))
    run(bench.change("berta", UserAction.BLOCK))
    right = _request(anna)
    odd = [
        _request(anna, code=bytes(32)),
        _request(berta),
        _request(anna, body={"wait": 31}),
        _request(anna, "transactions.get", {"transaction": "txn_1"}),
        right,
    ]
    before = [len(bench.rows(sa.select(table))) for table in (events, replays)]
    decided = run(_decide(bench, [right, *odd]))
    assert [each is not None for each in decided] == [True] + [False] * len(odd)
    after = [len(bench.rows(sa.select(table))) for table in (events, replays)]
    assert [new - old for new, old in zip(after, before, strict=True)] == [1, 1]


def test_more_than_a_batch_may_list_is_listed_alone(any_bench: Bench) -> None:
    bench = any_bench
    run(bench.enrol("anna"))
    names = sorted(run(bench.ask_to_confirm("anna")) for _ in range(3))
    application = bench.asker.application.id
    asked = [(application, "anna"), (application, "berta")]
    with bench.ctx.database.reading() as connection:
        assert transactions.pending_of_users(connection, asked, bench.clock.now(), 2) is None
        found = transactions.pending_of_users(connection, asked, bench.clock.now(), 3)
    assert found is not None
    assert {who: [each.id for each in theirs] for who, theirs in found.items()} == {asked[0]: names}


def test_who_waits_is_told_of_what_came_before_it_was_known_for_whom_it_asks(bench: Bench) -> None:
    phone = run(bench.enrol("anna"))
    names = []

    async def create() -> None:
        names.append(await bench.ask_to_confirm("anna"))

    told = run(_wait(bench, _request(phone, body=_WAIT), create))
    assert told is not None
    assert [each["transaction"] for each in told["transactions"]] == names


def test_who_is_blocked_in_that_moment_is_answered_like_a_stranger(bench: Bench) -> None:
    phone = run(bench.enrol("anna"))

    async def block() -> None:
        await bench.change("anna", UserAction.BLOCK)
        bench.ctx.waiters.wake(pending_topic(bench.asker.application.id, "anna"))

    with pytest.raises(Refusal, match="authentication_failed") as refused:
        run(_wait(bench, _request(phone, body=_WAIT), block))
    assert refused.value.recorded


def test_nobody_hears_any_more_once_it_waits_or_is_gone(bench: Bench) -> None:
    phone = run(bench.enrol("anna"))

    async def waits_for_a_moment() -> None:
        request = _request(phone, body=_WAIT)
        async with listening(bench.ctx, request.envelope) as hearing:
            (decided,) = await _decide(bench, [request])
            assert decided is not None
            assert bench.ctx.waiters.hearings == {hearing}
            waiting = asyncio.create_task(pending_after(bench.ctx, decided.caller, hearing))
            await asyncio.sleep(0.05)
            assert bench.ctx.waiters.hearings == set()
            waiting.cancel()
        async with listening(bench.ctx, request.envelope):
            pass
        assert bench.ctx.waiters.hearings == set()

    run(waits_for_a_moment())


def test_more_than_may_wait_is_refused_at_once_and_not_used_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "_WAITING_MOST", 2)
    phone = run(bench.enrol("anna"))
    requests = [_request(phone) for _ in range(3)]

    async def at_once() -> list[Any]:
        room = together.Together(bench.ctx, _reply, at_once=1)
        return await asyncio.gather(*map(room.decide, requests), return_exceptions=True)

    *served, refused = run(at_once())
    assert all(isinstance(each, Decided) for each in served)
    assert isinstance(refused, DeviceUnavailable)
    assert run(bench.send(phone, PENDING, requests[-1].raw))["transactions"] == []
