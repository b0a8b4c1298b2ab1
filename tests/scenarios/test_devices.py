"""May a user have several devices, each with keys of its own, none in the way of another, and one removed alone?"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.rules.policy import Policy
from gateway.rules.user import UserAction
from gateway.scenarios import device_lifecycle, housekeeping, policies
from gateway.scenarios.bindings import BrokenBinding
from gateway.store.tables import devices, pushes
from hsm.device import Device
from tests.counterparts.phone import Phone
from tests.scenarios.bench import ORIGIN, Bench, run
from tests.scenarios.two_phones import (
    another_phone,
    answers,
    code_of,
    device_of,
    events_of,
    remove,
    states,
    two_bench,
    two_phones,
)


@pytest.fixture
def bench(tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """A bench whose users may have two devices, on SQLite."""
    with two_bench("sqlite", tmp_path, own_device) as made:
        yield made


@pytest.fixture
def both(bench: Bench) -> tuple[Phone, Phone]:
    """Two phones of anna's."""
    return two_phones(bench)


@pytest.fixture(scope="module")
def wrap_key() -> rsa.RSAPrivateKey:
    """A key that a phone made for its new keys."""
    return rsa.generate_private_key(65537, 3072)


def test_another_device_ends_nobodys_keys_while_there_is_room(bench: Bench, both: tuple[Phone, Phone]):
    assert [answers(bench, phone) for phone in both] == ["done", "done"]
    assert states(bench) == [(device_of(bench, phone), "active") for phone in both]
    keys = len(bench.device.user_keys())
    assert code_of(bench.issue("anna", key="the third")) == "devices_full"
    assert len(bench.device.user_keys()) == keys
    run(remove(bench, device_of(bench, both[0])))
    assert code_of(bench.issue("anna", key="the third")) == "done"  # the refusal did not use up the key
    assert [state for _, state in states(bench)] == ["removed", "active", "expected"]
    assert bench.unbound() == []


def test_new_keys_for_a_named_device_replace_those_alone(bench: Bench, both: tuple[Phone, Phone]):
    device = device_of(bench, both[0])
    # An app installed anew: another fingerprint, and no push address yet.
    again = another_phone(bench, device)
    assert [answers(bench, phone) for phone in (*both, again)] == ["authentication_failed", "done", "done"]
    assert states(bench) == [(device, "active"), (device_of(bench, both[1]), "active")]
    assert device_of(bench, again) == device
    assert events_of(bench, "keyset.ended") == [(both[0].account.keyset, "replaced")]
    addresses = sa.select(devices.c.push_id).order_by(devices.c.id)
    assert [row.push_id for row in bench.rows(addresses)] == [None, "an address"]


def test_a_renewal_stays_with_its_device(
    bench: Bench, both: tuple[Phone, Phone], wrap_key: rsa.RSAPrivateKey
):
    first, second = both
    answer = run(bench.ask(first, "keys.renew", first.renewal_body(wrap_key)))
    renewed = Phone.enrol(answer["package"], wrap_key=wrap_key, clock=bench.clock.now)
    object.__setattr__(renewed.account, "fingerprint", first.account.fingerprint)
    assert device_of(bench, renewed) == device_of(bench, first)
    run(bench.register(renewed))
    answered = [answers(bench, phone) for phone in (first, second, renewed)]
    assert answered == ["authentication_failed", "done", "done"]
    addresses = bench.rows(sa.select(devices.c.push_id))
    assert [row.push_id for row in addresses] == ["an address", "an address"]


def test_a_removed_device_ends_alone_and_its_answers_still_verify(bench: Bench, both: tuple[Phone, Phone]):
    lost, kept = both
    waiting = run(bench.show(lost, run(bench.ask_to_confirm("anna"))))
    assert len(bench.rows(sa.select(pushes))) == 2
    view = run(remove(bench, device_of(bench, lost)))
    assert (view["status"], view["keyset"], view["push"]) == ("removed", None, None)
    assert [row.device_id for row in bench.rows(sa.select(pushes))] == [device_of(bench, kept)]
    assert code_of(bench.approve(lost, waiting)) == "authentication_failed"
    assert run(bench.approve(kept, run(bench.show(kept, waiting.transaction))))["status"] == "confirmed"
    assert events_of(bench, "device.removed") == [(None, "application")]
    assert events_of(bench, "keyset.ended") == [(lost.account.keyset, "device removed")]
    told = bench.rows("SELECT body FROM deliveries WHERE type = 'device.removed'")
    assert [device_of(bench, lost) in row.body for row in told] == [True]
    before = len(bench.device.user_keys())
    run(housekeeping.sweep_keys(bench.ctx))
    assert before - len(bench.device.user_keys()) == 1  # Kauth; Khmac and Kpublic verify
    assert run(remove(bench, device_of(bench, lost))) == view
    assert len(events_of(bench, "device.removed")) == 1
    assert code_of(bench.issue("anna", device=device_of(bench, lost))) == "not_found"
    assert bench.unbound() == []


def test_a_renewal_under_way_ends_with_its_device(
    bench: Bench, both: tuple[Phone, Phone], wrap_key: rsa.RSAPrivateKey
):
    answer = run(bench.ask(both[0], "keys.renew", both[0].renewal_body(wrap_key)))
    renewed = Phone.enrol(answer["package"], wrap_key=wrap_key, clock=bench.clock.now)
    object.__setattr__(renewed.account, "fingerprint", both[0].account.fingerprint)
    run(remove(bench, device_of(bench, both[0])))
    assert code_of(bench.register(renewed)) == "authentication_failed"


def test_a_stolen_phone_is_removed_while_its_user_is_blocked(bench: Bench, both: tuple[Phone, Phone]):
    stolen, kept = both
    run(bench.change("anna", UserAction.BLOCK))
    run(remove(bench, device_of(bench, stolen)))
    assert answers(bench, kept) == "authentication_failed"
    run(bench.change("anna", UserAction.UNBLOCK))
    assert [answers(bench, phone) for phone in both] == ["authentication_failed", "done"]


def test_a_device_that_nobody_registered_makes_room_when_its_keys_lapse(bench: Bench):
    run(bench.enrol("anna"))
    run(bench.issue("anna"))
    assert code_of(bench.issue("anna")) == "devices_full"
    bench.clock.move(hours=72)
    assert code_of(bench.issue("anna")) == "done"  # before the sweep that ends them
    run(housekeeping.lapse_keysets(bench.ctx))
    assert code_of(bench.issue("anna")) == "devices_full"


def test_a_keyset_moved_to_another_device_serves_nobody_and_keeps_it_from_being_removed(
    bench: Bench, both: tuple[Phone, Phone]
):
    lost, kept = (device_of(bench, phone) for phone in both)
    move = "UPDATE keysets SET device_id = :device WHERE id = :keyset"
    bench.write(move, device=kept, keyset=both[0].account.keyset)
    assert answers(bench, both[0]) == "authentication_failed"
    with pytest.raises(BrokenBinding):
        run(remove(bench, lost))  # else the keys would come back with their row
    bench.write(move, device=lost, keyset=both[0].account.keyset)
    run(remove(bench, lost))
    assert answers(bench, both[0]) == "authentication_failed"


def test_where_one_device_is_allowed_another_takes_its_place(bench: Bench, both: tuple[Phone, Phone]):
    bench.asker = replace(bench.asker, application=replace(bench.asker.application, policy=Policy()))
    third = run(bench.issue("anna"))
    assert [state for _, state in states(bench)] == ["removed", "removed", "expected"]
    assert events_of(bench, "device.removed") == [(None, "replaced")] * 2
    assert [answers(bench, phone) for phone in both] == ["authentication_failed"] * 2
    run(bench.register(bench.phone(third)))
    assert states(bench)[-1][1] == "active"


def test_a_deleted_users_devices_are_removed(bench: Bench, both: tuple[Phone, Phone]):
    run(bench.change("anna", UserAction.DELETE))
    assert [state for _, state in states(bench)] == ["removed", "removed"]
    assert [row.push_id for row in bench.rows(sa.select(devices.c.push_id))] == [None, None]
    assert len(both) == 2


def test_a_phone_that_need_not_register_has_its_device_from_the_issue_on(bench: Bench):
    policy = {"devices_most": 2, "kpublic_required": False, "bind_to_device": False}
    run(policies.put_policy(bench.ctx, bench.asker, policy, ORIGIN))
    bench.asker = bench.present()
    run(bench.create_user("anna"))
    issued = run(bench.issue("anna"))
    device = issued.keyset["device"]["id"]
    view = run(device_lifecycle.fetch_device(bench.ctx, bench.asker.application, "anna", device))
    assert (view["status"], view["keyset"]) == ("expected", issued.keyset["id"])
    phone = bench.phone(issued)
    assert answers(bench, phone) == "done"
    run(remove(bench, device))
    assert answers(bench, phone) == "authentication_failed"


def test_what_is_not_there_is_not_found(bench: Bench):
    run(bench.enrol("anna"))
    assert code_of(remove(bench, "dev_unknown")) == "not_found"
    assert code_of(bench.issue("anna", device="dev_unknown")) == "not_found"
    nobody = device_lifecycle.list_devices(bench.ctx, bench.asker.application, "berta")
    assert code_of(nobody) == "not_found"
