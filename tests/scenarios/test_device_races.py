"""What holds when two devices of one user, or two who manage them, do something at once?"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.api.problems import json_reply
from gateway.rules.user import UserAction
from gateway.scenarios import housekeeping
from gateway.scenarios.authentication import ClientRequest
from gateway.scenarios.together import Together
from gateway.store.tables import attempts, devices, keysets
from gateway.wire.request import parse_envelope
from hsm.device import Device
from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Shown
from tests.scenarios.bench import ORIGIN, Bench, run
from tests.scenarios.two_phones import (
    all_of,
    answers,
    code_of,
    device_of,
    events_of,
    remove,
    two_bench,
    two_phones,
)
from tests.store.databases import KINDS


@pytest.fixture
def bench(tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """A bench whose users may have two devices, on SQLite."""
    with two_bench("sqlite", tmp_path, own_device) as made:
        yield made


@pytest.fixture(params=KINDS)
def any_bench(request: pytest.FixtureRequest, tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """The same on each kind of database, for what is decided by the database."""
    with two_bench(request.param, tmp_path, own_device) as made:
        yield made


@pytest.fixture
def both(bench: Bench) -> tuple[Phone, Phone]:
    """Two phones of anna's."""
    return two_phones(bench)


def test_of_many_who_ask_for_the_last_place_one_gets_it(any_bench: Bench):
    bench = any_bench
    run(bench.enrol("anna"))
    ended = Counter(run(all_of(*(bench.issue("anna") for _ in range(5)))))
    assert ended["done"] == 1
    assert set(ended) <= {"done", "devices_full", "concurrent_change"}
    opened = bench.rows("SELECT id FROM keysets WHERE status IN ('issued', 'active')")
    assert len(opened) == len(bench.rows(sa.select(devices))) == 2
    assert bench.unbound() == []


def test_of_two_devices_that_answer_at_once_one_wins(any_bench: Bench):
    bench, both = any_bench, two_phones(any_bench)
    for _ in range(4):
        name = run(bench.ask_to_confirm("anna"))
        shown = run(bench.show(both[0], name))
        decline = bench.ask(both[1], "transactions.decline", both[1].confirmation_body(shown, 2))
        ended = run(all_of(bench.approve(both[0], shown), decline))
        assert sorted(ended) == ["done", "transaction_settled"]
        kept = bench.rows(sa.select(attempts).where(attempts.c.transaction_id == name))
        winner = both[ended.index("done")].account.keyset
        assert [row.keyset_id for row in kept if row.outcome == "accepted"] == [winner]
        assert [row.outcome for row in kept].count("late") == 1


def test_of_two_devices_whose_answers_are_decided_together_one_wins(bench: Bench, both: tuple[Phone, Phone]):
    names = [run(bench.ask_to_confirm("anna")) for _ in range(3)]
    shown = [run(bench.show(both[0], name)) for name in names]
    asked = [(both[0], shown[0]), (both[1], shown[0]), (both[0], shown[1]), (both[1], shown[2])]

    def request(phone: Phone, what: Shown) -> ClientRequest:
        raw = phone.envelope("transactions.approve", phone.confirmation_body(what, 1))
        envelope = parse_envelope(raw, "transactions.approve")
        return ClientRequest(raw=raw, envelope=envelope, authcode=phone.authcode(raw), origin=ORIGIN)

    async def at_once() -> list[Any]:
        answers = Together(bench.ctx, partial(json_reply, 200), at_once=1)
        return await asyncio.gather(*(answers.decide(request(*each)) for each in asked))

    assert [each is not None for each in run(at_once())] == [True, False, True, True]
    assert code_of(bench.approve(both[1], shown[0])) == "transaction_settled"
    kept = bench.rows(sa.select(attempts.c.device_id).where(attempts.c.outcome == "accepted"))
    assert Counter(row.device_id for row in kept) == {
        device_of(bench, both[0]): 2,
        device_of(bench, both[1]): 1,
    }


def test_failures_of_two_devices_are_one_count(bench: Bench, both: tuple[Phone, Phone]):
    shown = [run(bench.show(phone, run(bench.ask_to_confirm("anna")))) for phone in both * 3]
    guesses = [bench.approve_wrongly(phone, each) for phone, each in zip(both * 3, shown, strict=True)]
    assert Counter(run(all_of(*guesses))) == {"proof_refused": 5, "authentication_failed": 1}
    assert [answers(bench, phone) for phone in both] == ["authentication_failed"] * 2


def test_a_removal_that_meets_anything_else_leaves_every_binding_right(any_bench: Bench):
    bench, both = any_bench, two_phones(any_bench)
    device = device_of(bench, both[0])
    shown = run(bench.show(both[0], run(bench.ask_to_confirm("anna"))))
    run(
        all_of(
            remove(bench, device),
            bench.approve(both[0], shown),
            bench.change("anna", UserAction.BLOCK),
            bench.issue("anna", device=device),
            remove(bench, device),
            bench.change("anna", UserAction.UNBLOCK),
            housekeeping.sweep_keys(bench.ctx),
        )
    )
    run(bench.change("anna", UserAction.UNBLOCK))
    run(remove(bench, device))
    assert bench.unbound() == []
    assert [answers(bench, phone) for phone in both] == ["authentication_failed", "done"]
    assert len(events_of(bench, "device.removed")) == 1
    left = sa.select(keysets.c.status).where(keysets.c.device_id == device).distinct()
    assert [row.status for row in bench.rows(left)] == ["deleted"]
