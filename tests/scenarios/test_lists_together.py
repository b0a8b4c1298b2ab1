"""Are lists of what waits that are asked for together given as each would be alone, and does who waits miss nothing?"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
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
from gateway.scenarios.phone_reading import PENDING, Mark, pending_after
from gateway.scenarios.waiting import Waiters
from gateway.scenarios.winning import Decided
from gateway.store import guards, transactions, users
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


async def _wait(
    bench: Bench, request: ClientRequest, meanwhile: Callable[[], Awaitable[Any]]
) -> dict[str, Any] | None:
    """Ask and wait as at the door; `meanwhile` happens between the two."""
    async with asyncio.timeout(25):
        mark = Mark.now(bench.ctx)
        (decided,) = await _decide(bench, [request])
        assert decided is not None
        assert not decided.is_final
        await meanwhile()
        return await pending_after(bench.ctx, decided.caller, mark)


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


def test_who_has_nothing_that_waits_gets_the_answer_that_was_made_ahead(bench: Bench) -> None:
    phone = run(bench.enrol("anna"))
    request = _request(phone)
    ((answer,), before) = run(_decide(bench, [request])), bench.device.snapshot().operations
    assert answer is not None
    assert answer.proof is not None
    about = (answer.reply.status, answer.reply.content_type.encode(), answer.reply.body)
    assert answer.proof == answer_proof(phone.keys.kauth, phone.authcode(request.raw), *about)
    assert orjson.loads(answer.reply.body) == run(bench.ask(phone, PENDING, {}))
    # The single one is proved by the door, which asked the token.
    assert bench.device.snapshot().operations != before


def test_nothing_of_a_user_is_read_before_its_phone_is_known(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = run(bench.enrol("anna"))
    run(bench.ask_to_confirm("anna"))
    read: list[str] = []
    real = transactions.pending_transactions

    def noted(connection: Any, ids: set[tuple[str, str]], *more: Any) -> Any:
        read.extend(user for _, user in ids)
        return real(connection, ids, *more)

    monkeypatch.setattr(transactions, "pending_transactions", noted)
    assert run(_decide(bench, [_request(phone, code=bytes(32))])) == [None]
    assert read == []
    assert run(_decide(bench, [_request(phone)])) != [None]
    assert read == ["anna"]


def test_a_list_takes_no_notice_of_who_holds_the_user(any_bench: Bench) -> None:
    bench = any_bench
    if bench.ctx.database.is_sqlite:
        pytest.skip("SQLite locks no rows")
    anna, berta = run(bench.enrol("anna")), run(bench.enrol("berta"))
    with bench.ctx.database.unit() as connection:
        users.lock_user(connection, bench.asker.application.id, "anna")  # as creating a transaction does
        decided = run(_decide(bench, [_request(anna), _request(berta)]))
    assert None not in decided


@pytest.mark.parametrize("change", ["UPDATE users SET version = version + 1 WHERE user_id = 'anna'", "mark"])
def test_what_happens_between_proof_and_list_stops_the_one_and_not_the_other(
    any_bench: Bench, change: str
) -> None:
    bench = any_bench
    anna, berta = run(bench.enrol("anna")), run(bench.enrol("berta"))
    first, second = _request(anna), _request(berta)
    happened: list[bool] = []

    def write(view: dict[str, Any]) -> Any:
        if not happened:
            happened.append(True)
            if change == "mark":
                at = bench.clock.now() + timedelta(days=1)
                with bench.ctx.database.unit() as connection:
                    mark = (first.envelope.keyset, first.authcode or b"")
                    assert guards.use_authcodes(connection, [mark], at)
            else:
                bench.write(change)
        return _reply(view)

    async def at_once() -> list[Decided | None]:
        room = together.Together(bench.ctx, write, at_once=1)
        return await asyncio.gather(*map(room.decide, [first, second]))

    assert [each is not None for each in run(at_once())] == [False, True]


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


def test_who_waits_looks_again_where_nobody_knows_what_it_may_have_missed(bench: Bench) -> None:
    phone = run(bench.enrol("anna"))
    created: list[str] = []

    async def silently_elsewhere() -> None:
        """Create one as another process does: nobody is woken, and no watch saw it, for none was under way."""
        silent = replace(bench, ctx=replace(bench.ctx, waiters=Waiters()))
        created.append(await silent.ask_to_confirm("anna"))

    told = run(_wait(bench, _request(phone, body=_WAIT), silently_elsewhere))
    assert told is not None
    assert [each["transaction"] for each in told["transactions"]] == created


def test_wakes_are_remembered_for_a_while_and_taken_for_granted_afterwards() -> None:
    waiters = Waiters()
    waiters.wake("before")
    since = waiters.wakes
    waiters.wake("after")
    assert not waiters.was_woken("before", since)
    assert waiters.was_woken("after", since)
    assert not waiters.was_woken("after", waiters.wakes)
    waiters.wake_all()
    assert waiters.was_woken("whatever", since)
    since = waiters.wakes
    for number in range(5000):
        waiters.wake(f"topic {number}")
    assert waiters.was_woken("forgotten", since)
    assert not waiters.was_woken("forgotten", waiters.wakes - 100)


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
