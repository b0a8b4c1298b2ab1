"""Is no authentication sealed that somebody copied in the outbox and told under another rule, channel or date?"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.scenarios.vouching import as_text
from gateway.worker.posting import Post
from hsm.device import Device
from tests.counterparts.phone_tlv import b64
from tests.counterparts.phone_wire import sign
from tests.scenarios.authenticating import POLICY, authenticate, body_of, login_text
from tests.scenarios.bench import Bench, opened_bench, run
from tests.store.databases import migrated_database
from tests.worker.outbox import clear, deliver_due, event_types, state, states
from tests.worker.receivers import RawReceiver
from tests.worker.test_receivers import OK

Json = dict[str, Any]
LATER = "2031-01-01T00:00:00Z"


@pytest.fixture
def receiver() -> Iterator[RawReceiver]:
    """Accepts whatever comes."""
    with RawReceiver(OK) as accepting:
        yield accepting


@pytest.fixture
def bench(tmp_path: Path, device: Device, receiver: RawReceiver) -> Iterator[Bench]:
    """A bench with rules whose outbox holds one callback: that of an authentication."""
    with (
        migrated_database("sqlite", tmp_path) as database,
        opened_bench(database, device, POLICY, receiver.url) as made,
    ):
        phone = run(made.enrol("anna"))
        clear(made)
        run(authenticate(made, phone, body_of(phone, login_text(made, phone))))
        yield made


def test_an_authentication_is_told_with_its_rule_channel_and_time(
    bench: Bench, post: Post, receiver: RawReceiver
):
    run(deliver_due(bench.ctx, post))
    assert state(bench) == ("delivered", 1, None)
    assert len(receiver.requests) == 1


def test_answers_with_a_signature_that_nothing_verified_are_told_without_it(
    tmp_path: Path, device: Device, post: Post, receiver: RawReceiver
):
    free = replace(POLICY, kpublic_required=False, bind_to_device=False)
    with (
        migrated_database("sqlite", tmp_path) as database,
        opened_bench(database, device, free, receiver.url) as bench,
    ):
        run(bench.create_user("anna"))
        phone = bench.phone(run(bench.issue("anna")))
        shown = run(bench.show(phone, run(bench.ask_to_confirm("anna"))))
        clear(bench)
        unasked = {"signature": b64(sign(phone.private_key, b"x"))}
        run(authenticate(bench, phone, body_of(phone, login_text(bench, phone), **unasked)))
        run(bench.ask(phone, "transactions.approve", phone.confirmation_body(shown, 1) | unasked))
        run(deliver_due(bench.ctx, post))
        assert [status for _, status, _, _ in states(bench)] == ["delivered"] * 2
        assert event_types(bench) == ["callback.delivered"] * 2


@pytest.mark.parametrize(
    ("why", "changed", "timestamp"),
    [
        ("rule", {"rule": "door"}, None),
        ("channel", {"channel": "passed_on"}, None),
        ("iat", {"at": LATER}, None),
        ("iat", {}, LATER),
        ("iat", {"at": LATER}, LATER),
    ],
)
def test_an_authentication_told_otherwise_than_it_was_made_is_never_sent(
    bench: Bench, post: Post, receiver: RawReceiver, why: str, changed: Json, timestamp: str | None
):
    (row,) = bench.rows("SELECT body FROM deliveries")
    body = json.loads(row.body)
    body["data"]["authentication"] |= changed
    body["timestamp"] = timestamp or body["timestamp"]
    bench.write("UPDATE deliveries SET id = 'msg_copy', body = :body", body=as_text(body))
    assert run(deliver_due(bench.ctx, post)) == 1
    assert state(bench) == ("given_up", 0, f"the receipt says another {why}")
    assert receiver.requests == []
    assert event_types(bench)[-1] == "callback.forged"
