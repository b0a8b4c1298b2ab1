"""Are keys that several ask for at once made for each as if it had asked alone?"""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.refusals import Outage, Refusal
from gateway.rules.keyset import OPEN, Delivery
from gateway.scenarios import housekeeping, issuing
from gateway.scenarios.packaging import activation_code, make_package
from gateway.scenarios.personalization import Issued
from gateway.store import keysets, users
from gateway.wire.errors import WireError
from hsm.device import Device
from hsm.errors import DeviceRefused, DeviceUnavailable
from tests.counterparts.phone import Phone
from tests.scenarios.bench import Bench, counted_units, opened_bench, run
from tests.store.databases import migrated_database, opened, url_of

USERS = [f"user-{number}" for number in range(5)]


async def _together(bench: Bench, users: list[str], **asked: Any) -> list[Any]:
    return await asyncio.gather(*(bench.issue(user, **asked) for user in users), return_exceptions=True)


async def _created(bench: Bench) -> None:
    for user in USERS:
        await bench.create_user(user)


def test_keys_asked_for_together_are_made_in_as_many_units_as_for_one(any_bench: Bench):
    run(_created(any_bench))
    with pytest.MonkeyPatch.context() as patch:
        units = counted_units(any_bench, patch)
        found = run(_together(any_bench, USERS))
    assert len(units) == 2
    assert [each.keyset["user"] for each in found] == USERS
    assert any_bench.unbound() == []
    for each in found:
        run(any_bench.register(any_bench.phone(each)))


def test_each_gets_the_keys_that_its_own_code_opens(bench: Bench):
    run(_created(bench))
    found = run(_together(bench, USERS, delivery=Delivery.QR_AND_CODE))
    assert len({each.package.khmac for each in found}) == len(USERS)
    for each in found:
        plan = (each.package.application, each.package.keyset, each.package.wrapping.salt)
        code = activation_code(bench.ctx, *plan)
        phone = Phone.enrol(each.package.to_qr(), activation_code=code, clock=bench.clock.now)
        run(bench.register(phone))


def test_what_is_refused_to_one_is_nobody_elses_matter(any_bench: Bench):
    run(_created(any_bench))
    found = run(_together(any_bench, [USERS[0], "nobody", *USERS[1:]]))
    assert isinstance(found[1], Refusal)
    assert found[1].problem.code == "not_found"
    assert [each.keyset["user"] for each in found if isinstance(each, Issued)] == USERS
    assert any_bench.rows("SELECT * FROM loose_keys") == []


def test_of_two_for_one_user_the_later_takes_the_place(any_bench: Bench):
    run(_created(any_bench))
    found = run(_together(any_bench, [USERS[0], USERS[0], USERS[1]]))
    assert all(isinstance(each, Issued) for each in found)
    with any_bench.ctx.database.reading() as connection:
        present = keysets.keysets_of(connection, any_bench.asker.application.id, USERS[0])
    assert sorted(each.status in OPEN for each in present) == [False, True]
    assert any_bench.unbound() == []


def test_of_two_with_one_idempotency_key_only_one_gets_keys(bench: Bench):
    run(_created(bench))
    found = run(_together(bench, [USERS[0], USERS[0]], key="the key"))
    refused = [each.problem.code for each in found if isinstance(each, Refusal)]
    assert refused in (["in_progress"], ["already_delivered"])
    assert len(bench.rows("SELECT * FROM keysets")) == 1


def test_an_application_whose_policy_says_what_no_package_can_spoils_no_other(bench: Bench):
    run(_created(bench))
    application = bench.asker.application
    policy = replace(application.policy, step_seconds=2**40)
    odd = replace(bench, asker=replace(bench.asker, application=replace(application, policy=policy)))

    async def both() -> list[Any]:
        asked = (bench.issue(USERS[0]), odd.issue(USERS[1]), bench.issue(USERS[2]))
        return await asyncio.gather(*asked, return_exceptions=True)

    assert [type(each) for each in run(both())] == [Issued, WireError, Issued]


def test_of_a_crowd_those_for_whom_there_is_no_room_are_refused_at_once(bench: Bench):
    run(_created(bench))
    narrow = replace(bench, ctx=replace(bench.ctx, waiting_most=0))  # room for what is made next
    found = run(_together(narrow, [f"nobody-{number}" for number in range(40)]))
    assert [type(each) for each in found] == [Refusal] * 24 + [DeviceUnavailable] * 16
    assert isinstance(run(narrow.issue(USERS[0])), Issued)


def test_a_user_that_somebody_holds_keeps_nobody_else_from_keys(tmp_path: Path, own_device: Device):
    with (
        migrated_database("postgresql", tmp_path) as database,
        opened(f"{url_of(database)}&options=-c%20lock_timeout=150ms") as hasty,
        opened_bench(hasty, own_device) as bench,
    ):
        run(_created(bench))
        with database.unit() as holding:
            users.lock_user(holding, bench.asker.application.id, USERS[1])
            found = run(_together(bench, USERS))
        assert isinstance(found[1], Outage)
        assert [each.keyset["user"] for each in found if isinstance(each, Issued)] == [USERS[0], *USERS[2:]]
        assert isinstance(run(bench.issue(USERS[1])), Issued)


@pytest.mark.parametrize(("error", "failed"), [(DeviceRefused, 1), (DeviceUnavailable, 4)])
def test_where_the_device_fails_what_was_planned_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: type[Exception], failed: int
):
    run(_created(bench))
    before = bench.device.user_keys()

    def fail_at_the_second(ctx: Any, plan: Any, coming: Any) -> Any:
        if plan.user_id == USERS[1]:
            raise error("it failed")
        return make_package(ctx, plan, coming)

    monkeypatch.setattr(issuing, "make_package", fail_at_the_second)
    found = run(_together(bench, USERS))
    monkeypatch.undo()
    assert sum(isinstance(each, error) for each in found) == failed
    run(housekeeping.sweep_keys(bench.ctx))
    assert len(bench.device.user_keys()) - len(before) == 2 * (len(USERS) - failed)
    assert bench.rows("SELECT * FROM loose_keys") == []
    again = run(_together(bench, USERS))
    assert all(isinstance(each, Issued) for each in again)
