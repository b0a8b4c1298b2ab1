"""Is nothing sealed that somebody else wrote into the outbox and that only the HSM could vouch for?"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.rules.transaction import Kind
from gateway.scenarios.transactions import cancel_transaction
from gateway.scenarios.vouching import as_text
from gateway.store.database import Database
from gateway.worker.posting import Post
from hsm.device import Device
from tests.scenarios.bench import ORIGIN, Bench, opened_bench, run
from tests.worker.conftest import UseBench
from tests.worker.outbox import clear, deliver_due, event_types, put, state
from tests.worker.receivers import RawReceiver
from tests.worker.test_receivers import OK

Json = dict[str, Any]


@pytest.fixture
def receiver() -> Iterator[RawReceiver]:
    """Accepts whatever comes."""
    with RawReceiver(OK) as accepting:
        yield accepting


@pytest.fixture
def bench(bench_for: UseBench, receiver: RawReceiver) -> Iterator[Bench]:
    """A bench that is told at the receiver."""
    with bench_for(receiver.url) as made:
        yield made


def _answered(bench: Bench, action: str = "approve", user: str = "anna", kind: Kind = Kind.SIGN) -> None:
    """Have a user answer, so that the callback of the answer is the only one in the outbox."""
    phone = run(bench.enrol(user))
    shown = run(bench.show(phone, run(bench.ask_to_confirm(user, kind=kind))))
    clear(bench)
    body = phone.confirmation_body(shown, _operation(action, kind))
    run(bench.ask(phone, f"transactions.{action}", body))


def _operation(action: str, kind: Kind) -> int:
    if action == "decline":
        return 2
    return 1 if kind is Kind.SIGN else 3


def _body(bench: Bench) -> Json:
    (row,) = bench.rows("SELECT body FROM deliveries")
    return dict(json.loads(row.body))


def _expect_forged(bench: Bench, post: Post, receiver: RawReceiver, why: str) -> None:
    assert run(deliver_due(bench.ctx, post)) == 1
    status, tries, error = state(bench)
    assert (status, tries) == ("given_up", 0)
    assert why in str(error)
    assert receiver.requests == []
    assert event_types(bench) == ["callback.forged"]
    bench.clock.move(hours=48)
    assert run(deliver_due(bench.ctx, post)) == 0


@pytest.mark.parametrize(
    ("action", "kind"), [("approve", Kind.SIGN), ("approve", Kind.AUTHENTICATE), ("decline", Kind.SIGN)]
)
def test_an_answer_is_told(bench: Bench, post: Post, receiver: RawReceiver, action: str, kind: Kind):
    _answered(bench, action, kind=kind)
    run(deliver_due(bench.ctx, post))
    assert state(bench) == ("delivered", 1, None)
    assert len(receiver.requests) == 1


def test_a_cancellation_is_told_without_a_receipt(bench: Bench, post: Post, receiver: RawReceiver):
    run(bench.enrol("anna"))
    name = run(bench.ask_to_confirm("anna"))
    clear(bench)
    run(cancel_transaction(bench.ctx, bench.asker, name, None, ORIGIN))
    run(deliver_due(bench.ctx, post))
    assert state(bench) == ("delivered", 1, None)


def _pretend(bench: Bench, type_: str, data: Json, body_type: str | None = None) -> None:
    """Write a callback into the outbox as somebody would who has the database and not the HSM."""
    put(bench, "x")
    body = {"type": body_type or type_, "timestamp": "2030-06-01T12:00:00Z", "sequence": 0, "data": data}
    bench.write("UPDATE deliveries SET type = :type, body = :body", type=type_, body=as_text(body))


INVENTED: dict[str, tuple[str, Json]] = {
    "a confirmation": ("transaction.confirmed", {"transaction": {"id": "txn_1", "status": "confirmed"}}),
    "a decline": (
        "transaction.declined",
        {"transaction": {"id": "txn_1", "status": "declined"}, "receipt": ""},
    ),
    "a state of another type": ("user.blocked", {"transaction": {"id": "txn_1", "status": "confirmed"}}),
    "a confirmation of another type": (
        "transaction.cancelled",
        {"transaction": {}, "confirmation": {"step": 1}},
    ),
    "a receipt of another type": ("keys.registered", {"receipt": "e30.e30.AA"}),
    "an authentication": ("authentication.confirmed", {"authentication": {"id": "aut_1", "user": "anna"}}),
    "an authentication of another type": ("user.blocked", {"authentication": {"id": "aut_1"}}),
    "no object": ("transaction.confirmed", []),  # type: ignore[dict-item]
}


@pytest.mark.parametrize(("type_", "data"), INVENTED.values(), ids=INVENTED)
def test_an_invented_answer_is_given_up_with_an_alarm_and_never_sent(
    bench: Bench, post: Post, receiver: RawReceiver, type_: str, data: Json
):
    _pretend(bench, type_, data)
    _expect_forged(bench, post, receiver, "the body is not in the form of a callback")


def test_an_answer_under_the_name_of_something_else_is_never_sent(
    bench: Bench, post: Post, receiver: RawReceiver
):
    _pretend(bench, "user.blocked", {"user": "anna"}, body_type="transaction.confirmed")
    _expect_forged(bench, post, receiver, "type or sequence")


@pytest.mark.parametrize("body", [None, "", "null", "[]", '"x"', "{}", '{"type":"test.x"}', "[" * 100_000])
def test_a_body_that_is_none_is_never_sent(bench: Bench, post: Post, receiver: RawReceiver, body: str | None):
    put(bench, "x")
    bench.write("UPDATE deliveries SET body = :body", body=body)
    _expect_forged(bench, post, receiver, "the body is not")


def _set(*path: str, to: object) -> Callable[[Json], None]:
    def change(body: Json) -> None:
        at = body
        for name in path[:-1]:
            at = at[name]
        at[path[-1]] = to

    return change


CHANGED: dict[str, tuple[str, Callable[[Json], None]]] = {
    "content": ("content_sha256", _set("data", "transaction", "content_sha256", to="A" * 43 + "=")),
    "user": ("user", _set("data", "transaction", "user", to="berta")),
    "title": ("title", _set("data", "transaction", "title", to="Refund")),
    "media type": ("media_type", _set("data", "transaction", "media_type", to="text/html")),
    "transaction": ("another transaction", _set("data", "transaction", "id", to="txn_2")),
    "state": ("another transaction or state", _set("data", "transaction", "status", to="declined")),
    "kind": ("operation", _set("data", "transaction", "kind", to="authenticate")),
    "no such kind": ("the body is not", _set("data", "transaction", "kind", to="wish")),
    "operation": ("operation", _set("data", "confirmation", "operation", to="decline")),
    "step": ("step", _set("data", "confirmation", "step", to=1)),
    "code": ("code", _set("data", "confirmation", "code", to="A" * 43 + "=")),
    "signature": ("signature", _set("data", "confirmation", "signature", to=None)),
    "checks": ("verified", _set("data", "confirmation", "verified", to=["step"])),
    "keyset": ("keyset", _set("data", "confirmation", "keyset", to="ks_2")),
    "attempt": ("jti", _set("data", "confirmation", "id", to="att_2")),
    "no confirmation": ("the body is not", _set("data", "confirmation", to=None)),
    "no receipt": ("the body is not", _set("data", "receipt", to=None)),
    "sequence": ("type or sequence", _set("sequence", to=2)),
    "time of the callback": ("iat", _set("timestamp", to="2031-01-01T00:00:00Z")),
    "time of the answer": ("iat", _set("data", "confirmation", "at", to="2031-01-01T00:00:00Z")),
    "time of the state": ("iat", _set("data", "transaction", "settled_at", to="2031-01-01T00:00:00Z")),
}


@pytest.mark.parametrize(("why", "change"), CHANGED.values(), ids=CHANGED)
def test_a_callback_that_differs_from_its_receipt_is_never_sent(
    bench: Bench, post: Post, receiver: RawReceiver, why: str, change: Callable[[Json], None]
):
    _answered(bench)
    body = _body(bench)
    change(body)
    bench.write("UPDATE deliveries SET body = :body", body=as_text(body))
    _expect_forged(bench, post, receiver, why)


def test_a_decline_told_as_a_confirmation_is_never_sent(bench: Bench, post: Post, receiver: RawReceiver):
    _answered(bench, "decline")
    body = _body(bench)
    body["type"], body["data"]["transaction"]["status"] = "transaction.confirmed", "confirmed"
    body["data"]["confirmation"]["operation"] = "approve"
    text = as_text(body)
    bench.write("UPDATE deliveries SET type = 'transaction.confirmed', body = :body", body=text)
    _expect_forged(bench, post, receiver, "operation")


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_changed_receipt_is_never_sent(bench: Bench, post: Post, receiver: RawReceiver, part: int):
    _answered(bench)
    body = _body(bench)
    parts = body["data"]["receipt"].split(".")
    parts[part] = parts[part].swapcase()
    body["data"]["receipt"] = ".".join(parts)
    bench.write("UPDATE deliveries SET body = :body", body=as_text(body))
    _expect_forged(bench, post, receiver, "")


def test_a_receipt_of_another_gateway_is_never_sent(
    bench: Bench, post: Post, receiver: RawReceiver, token_uri: str, bench_for: UseBench
):
    _answered(bench)
    theirs = Device.open(token_uri, wait_seconds=30)
    for name in ("binding", "webhook", "activation", "credential", "decoy"):
        theirs.create_house_key(name)
    theirs.create_house_pair("receipt")
    with opened_bench(_database(bench), theirs, callback_url=receiver.url) as other:
        assert run(deliver_due(other.ctx, post)) == 1
    theirs.close()
    status, _, error = state(bench)
    assert (status, error) == ("given_up", "the receipt names another key")
    assert receiver.requests == []


def _database(bench: Bench) -> Database:
    return bench.ctx.database


def test_a_body_that_says_a_name_twice_is_never_sent(bench: Bench, post: Post, receiver: RawReceiver):
    _answered(bench)
    twice = as_text(_body(bench)).replace('"user":"anna"', '"user":"berta","user":"anna"', 1)
    bench.write("UPDATE deliveries SET body = :body", body=twice)
    _expect_forged(bench, post, receiver, "not written as the gateway writes it")


@pytest.mark.parametrize(
    "url", ["https://elsewhere.example/callbacks", "http://127.0.0.1:9/callbacks", "", "x"]
)
def test_a_callback_to_another_origin_goes_to_the_registered_address(
    bench: Bench, post: Post, receiver: RawReceiver, url: str
):
    put(bench, "x")
    bench.write("UPDATE deliveries SET url = :url", url=url)
    run(deliver_due(bench.ctx, post))
    assert state(bench) == ("delivered", 1, None)
    assert len(receiver.requests) == 1


def test_a_callback_under_a_strange_id_is_never_sent(bench: Bench, post: Post, receiver: RawReceiver):
    put(bench, "x")
    bench.write("UPDATE deliveries SET id = 'msg.1'")
    _expect_forged(bench, post, receiver, "the id")
