"""May a user have several devices, each with keys of its own, none in the way of another, and one removed alone?"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.refusals import Refusal
from gateway.rules.policy import Policy
from gateway.rules.user import UserAction
from gateway.scenarios import device_lifecycle, housekeeping
from gateway.scenarios.bindings import BrokenBinding
from gateway.store.tables import attempts, devices, events, keysets, pushes
from hsm.device import Device
from tests.counterparts.phone import Phone
from tests.scenarios.bench import ORIGIN, Bench, opened_bench, run
from tests.store.databases import KINDS, migrated_database

PUSH = {"provider": "fcm", "identifier": "an address"}
TWO = Policy(devices_most=2)


@contextlib.contextmanager
def _bench(kind: str, folder: Path, device: Device) -> Iterator[Bench]:
    """A bench whose users may have two devices."""
    told = "https://bank.example/told"
    with (
        migrated_database(kind, folder) as database,
        opened_bench(database, device, TWO, callback_url=told) as made,
    ):
        yield made


@pytest.fixture
def bench(tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """Such a bench on SQLite."""
    with _bench("sqlite", tmp_path, own_device) as made:
        yield made


@pytest.fixture(params=KINDS)
def any_bench(request: pytest.FixtureRequest, tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """Such a bench on each kind of database, for what is decided by the database."""
    with _bench(request.param, tmp_path, own_device) as made:
        yield made


def _phone(bench: Bench, device: str | None = None, push: dict[str, str] | None = None) -> Phone:
    bench.clock.move(seconds=1)  # ids are in the order of time
    phone = bench.phone(run(bench.issue("anna", device=device)))
    run(bench.ask(phone, "keys.register", phone.registration_body(push=push)))
    phone.account = replace(phone.account, registered=True)
    return phone


def _two(bench: Bench) -> tuple[Phone, Phone]:
    run(bench.create_user("anna"))
    phones = _phone(bench, push=PUSH), _phone(bench, push=PUSH)
    bench.clock.move(seconds=1)
    return phones


@pytest.fixture
def both(bench: Bench) -> tuple[Phone, Phone]:
    """Two phones of anna's."""
    return _two(bench)


def _code(work: Coroutine[Any, Any, Any]) -> str:
    try:
        run(work)
    except Refusal as refusal:
        return refusal.problem.code
    return "done"


async def _all(*asked: Coroutine[Any, Any, Any]) -> list[str]:
    ended = []
    for answer in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(answer, BaseException) and not isinstance(answer, Refusal):
            raise answer
        ended.append(answer.problem.code if isinstance(answer, Refusal) else "done")
    return ended


def _device(bench: Bench, phone: Phone) -> str:
    return str(bench.keyset(phone.account.keyset).device_id)


def _remove(bench: Bench, device: str) -> Coroutine[Any, Any, dict[str, Any]]:
    return device_lifecycle.remove_device(bench.ctx, bench.asker.application, "anna", device, ORIGIN)


def _states(bench: Bench) -> list[tuple[str, str]]:
    listed = run(device_lifecycle.list_devices(bench.ctx, bench.asker.application, "anna"))
    return [(each["id"], each["status"]) for each in listed]


def _answers(bench: Bench, phone: Phone) -> str:
    return _code(bench.ask(phone, "transactions.pending", {}))


def _events(bench: Bench, type_: str) -> list[tuple[str | None, str | None]]:
    chosen = sa.select(events.c.keyset_id, events.c.reason).where(events.c.type == type_)
    rows = bench.rows(chosen.order_by(events.c.number))
    return [tuple(row) for row in rows]


def test_another_device_ends_nobodys_keys_while_there_is_room(bench: Bench, both: tuple[Phone, Phone]):
    assert [_answers(bench, phone) for phone in both] == ["done", "done"]
    assert _states(bench) == [(_device(bench, phone), "active") for phone in both]
    keys = len(bench.device.user_keys())
    assert _code(bench.issue("anna", key="the third")) == "devices_full"
    assert len(bench.device.user_keys()) == keys
    run(_remove(bench, _device(bench, both[0])))
    assert _code(bench.issue("anna", key="the third")) == "done"  # the refusal did not use up the key
    assert [state for _, state in _states(bench)] == ["removed", "active", "expected"]
    assert bench.unbound() == []


def test_new_keys_for_a_named_device_replace_those_alone(bench: Bench, both: tuple[Phone, Phone]):
    device = _device(bench, both[0])
    again = _phone(bench, device)  # an app installed anew: another fingerprint, and no push address yet
    assert [_answers(bench, phone) for phone in (*both, again)] == ["authentication_failed", "done", "done"]
    assert _states(bench) == [(device, "active"), (_device(bench, both[1]), "active")]
    assert _device(bench, again) == device
    assert _events(bench, "keyset.ended") == [(both[0].account.keyset, "replaced")]
    addresses = sa.select(devices.c.push_id).order_by(devices.c.id)
    assert [row.push_id for row in bench.rows(addresses)] == [None, "an address"]


def test_a_renewal_stays_with_its_device(bench: Bench, both: tuple[Phone, Phone]):
    first, second = both
    wrap_key = rsa.generate_private_key(65537, 3072)
    answer = run(bench.ask(first, "keys.renew", first.renewal_body(wrap_key)))
    renewed = Phone.enrol(answer["package"], wrap_key=wrap_key, clock=bench.clock.now)
    object.__setattr__(renewed.account, "fingerprint", first.account.fingerprint)
    assert _device(bench, renewed) == _device(bench, first)
    run(bench.register(renewed))
    answered = [_answers(bench, phone) for phone in (first, second, renewed)]
    assert answered == ["authentication_failed", "done", "done"]
    addresses = bench.rows(sa.select(devices.c.push_id))
    assert [row.push_id for row in addresses] == ["an address", "an address"]


def test_a_removed_device_ends_alone_and_its_answers_still_verify(bench: Bench, both: tuple[Phone, Phone]):
    lost, kept = both
    waiting = run(bench.show(lost, run(bench.ask_to_confirm("anna"))))
    assert len(bench.rows(sa.select(pushes))) == 2
    view = run(_remove(bench, _device(bench, lost)))
    assert (view["status"], view["keyset"], view["push"]) == ("removed", None, None)
    assert [row.device_id for row in bench.rows(sa.select(pushes))] == [_device(bench, kept)]
    assert _code(bench.approve(lost, waiting)) == "authentication_failed"
    assert run(bench.approve(kept, run(bench.show(kept, waiting.transaction))))["status"] == "confirmed"
    assert _events(bench, "device.removed") == [(None, "application")]
    assert _events(bench, "keyset.ended") == [(lost.account.keyset, "device removed")]
    told = bench.rows("SELECT body FROM deliveries WHERE type = 'device.removed'")
    assert [_device(bench, lost) in row.body for row in told] == [True]
    before = len(bench.device.user_keys())
    run(housekeeping.sweep_keys(bench.ctx))
    assert before - len(bench.device.user_keys()) == 1  # Kauth; Khmac and Kpublic verify
    assert run(_remove(bench, _device(bench, lost))) == view
    assert len(_events(bench, "device.removed")) == 1
    assert _code(bench.issue("anna", device=_device(bench, lost))) == "not_found"
    assert bench.unbound() == []


def test_a_renewal_under_way_ends_with_its_device(bench: Bench, both: tuple[Phone, Phone]):
    wrap_key = rsa.generate_private_key(65537, 3072)
    answer = run(bench.ask(both[0], "keys.renew", both[0].renewal_body(wrap_key)))
    renewed = Phone.enrol(answer["package"], wrap_key=wrap_key, clock=bench.clock.now)
    object.__setattr__(renewed.account, "fingerprint", both[0].account.fingerprint)
    run(_remove(bench, _device(bench, both[0])))
    assert _code(bench.register(renewed)) == "authentication_failed"


def test_a_stolen_phone_is_removed_while_its_user_is_blocked(bench: Bench, both: tuple[Phone, Phone]):
    stolen, kept = both
    run(bench.change("anna", UserAction.BLOCK))
    run(_remove(bench, _device(bench, stolen)))
    assert _answers(bench, kept) == "authentication_failed"
    run(bench.change("anna", UserAction.UNBLOCK))
    assert [_answers(bench, phone) for phone in both] == ["authentication_failed", "done"]


def test_a_device_that_nobody_registered_makes_room_when_its_keys_lapse(bench: Bench):
    run(bench.enrol("anna"))
    run(bench.issue("anna"))
    assert _code(bench.issue("anna")) == "devices_full"
    bench.clock.move(hours=72)
    assert _code(bench.issue("anna")) == "done"  # before the sweep that ends them
    run(housekeeping.lapse_keysets(bench.ctx))
    assert _code(bench.issue("anna")) == "devices_full"


def test_of_many_who_ask_for_the_last_place_one_gets_it(any_bench: Bench):
    bench = any_bench
    run(bench.enrol("anna"))
    ended = Counter(run(_all(*(bench.issue("anna") for _ in range(5)))))
    assert ended["done"] == 1
    assert set(ended) <= {"done", "devices_full", "concurrent_change"}
    opened = bench.rows("SELECT id FROM keysets WHERE status IN ('issued', 'active')")
    assert len(opened) == len(bench.rows(sa.select(devices))) == 2
    assert bench.unbound() == []


def test_of_two_devices_that_answer_at_once_one_wins(any_bench: Bench):
    bench, both = any_bench, _two(any_bench)
    for _ in range(4):
        name = run(bench.ask_to_confirm("anna"))
        shown = run(bench.show(both[0], name))
        decline = bench.ask(both[1], "transactions.decline", both[1].confirmation_body(shown, 2))
        ended = run(_all(bench.approve(both[0], shown), decline))
        assert sorted(ended) == ["done", "transaction_settled"]
        kept = bench.rows(sa.select(attempts).where(attempts.c.transaction_id == name))
        winner = both[ended.index("done")].account.keyset
        assert [row.keyset_id for row in kept if row.outcome == "accepted"] == [winner]
        assert [row.outcome for row in kept].count("late") == 1


def test_failures_of_two_devices_are_one_count(bench: Bench, both: tuple[Phone, Phone]):
    shown = [run(bench.show(phone, run(bench.ask_to_confirm("anna")))) for phone in both * 3]
    guesses = [bench.approve_wrongly(phone, each) for phone, each in zip(both * 3, shown, strict=True)]
    assert Counter(run(_all(*guesses))) == {"proof_refused": 5, "authentication_failed": 1}
    assert [_answers(bench, phone) for phone in both] == ["authentication_failed"] * 2


def test_a_removal_that_meets_anything_else_leaves_every_binding_right(any_bench: Bench):
    bench, both = any_bench, _two(any_bench)
    device = _device(bench, both[0])
    shown = run(bench.show(both[0], run(bench.ask_to_confirm("anna"))))
    run(
        _all(
            _remove(bench, device),
            bench.approve(both[0], shown),
            bench.change("anna", UserAction.BLOCK),
            bench.issue("anna", device=device),
            _remove(bench, device),
            bench.change("anna", UserAction.UNBLOCK),
            housekeeping.sweep_keys(bench.ctx),
        )
    )
    run(bench.change("anna", UserAction.UNBLOCK))
    run(_remove(bench, device))
    assert bench.unbound() == []
    assert [_answers(bench, phone) for phone in both] == ["authentication_failed", "done"]
    assert len(_events(bench, "device.removed")) == 1
    left = sa.select(keysets.c.status).where(keysets.c.device_id == device).distinct()
    assert [row.status for row in bench.rows(left)] == ["deleted"]


def test_a_keyset_moved_to_another_device_serves_nobody_and_keeps_it_from_being_removed(
    bench: Bench, both: tuple[Phone, Phone]
):
    lost, kept = (_device(bench, phone) for phone in both)
    move = "UPDATE keysets SET device_id = :device WHERE id = :keyset"
    bench.write(move, device=kept, keyset=both[0].account.keyset)
    assert _answers(bench, both[0]) == "authentication_failed"
    with pytest.raises(BrokenBinding):
        run(_remove(bench, lost))  # else the keys would come back with their row
    bench.write(move, device=lost, keyset=both[0].account.keyset)
    run(_remove(bench, lost))
    assert _answers(bench, both[0]) == "authentication_failed"


def test_where_one_device_is_allowed_another_takes_its_place(bench: Bench, both: tuple[Phone, Phone]):
    bench.asker = replace(bench.asker, application=replace(bench.asker.application, policy=Policy()))
    third = run(bench.issue("anna"))
    assert [state for _, state in _states(bench)] == ["removed", "removed", "expected"]
    assert _events(bench, "device.removed") == [(None, "replaced")] * 2
    assert [_answers(bench, phone) for phone in both] == ["authentication_failed"] * 2
    run(bench.register(bench.phone(third)))
    assert _states(bench)[-1][1] == "active"


def test_a_deleted_users_devices_are_removed(bench: Bench, both: tuple[Phone, Phone]):
    run(bench.change("anna", UserAction.DELETE))
    assert [state for _, state in _states(bench)] == ["removed", "removed"]
    assert [row.push_id for row in bench.rows(sa.select(devices.c.push_id))] == [None, None]
    assert len(both) == 2


def test_what_is_not_there_is_not_found(bench: Bench):
    run(bench.enrol("anna"))
    assert _code(_remove(bench, "dev_unknown")) == "not_found"
    assert _code(bench.issue("anna", device="dev_unknown")) == "not_found"
    nobody = device_lifecycle.list_devices(bench.ctx, bench.asker.application, "berta")
    assert _code(nobody) == "not_found"
