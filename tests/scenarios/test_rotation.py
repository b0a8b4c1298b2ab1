"""Can the binding key be rotated while everything runs, be interrupted, and never vouch for what it should not?"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from gateway import assembly
from gateway.refusals import Outage, Refusal
from gateway.rules.policy import Policy, Residency
from gateway.rules.user import UserAction, UserStatus
from gateway.scenarios import bindings, rotation
from gateway.scenarios.context import Context
from gateway.scenarios.receipts import receipt_key_set
from gateway.scenarios.rotation import Progress
from gateway.settings import Settings
from gateway.wire.receipt import read
from hsm.device import Device
from hsm.errors import DeviceUnavailable
from tests.counterparts.callback_receiver import verify_receipt
from tests.counterparts.phone import Phone
from tests.scenarios.bench import Bench, SetClock, opened_bench, run
from tests.store.databases import migrated_database


class Killed(Exception):
    """Stands for the end of the process."""


def rotate(bench: Bench) -> Progress:
    return run(rotation.rotate_binding(bench.ctx, lambda _: None, 0))


def retire(bench: Bench, name: str, version: int) -> None:
    run(rotation.retire(bench.ctx, name, version, lambda: asyncio.sleep(0)))


def confirm(bench: Bench, user: str, phone: Phone, asked: str | None = None) -> str:
    name = asked or run(bench.ask_to_confirm(user))
    return str(run(bench.approve(phone, run(bench.show(phone, name))))["status"])


def versions(bench: Bench) -> dict[str, set[int]]:
    return {
        table: {row[0] for row in bench.rows(f"SELECT DISTINCT binding_version FROM {table}")}  # noqa: S608
        for table in ("keysets", "transactions")
    }


@contextlib.contextmanager
def another_process(bench: Bench) -> Iterator[Context]:
    """A context with what it knew of the token when it began."""
    with assembly.make_context(Settings(), bench.ctx.database, bench.device, SetClock()) as made:
        yield made


def test_every_row_is_bound_anew_and_everybody_can_go_on(any_bench: Bench):
    bench = any_bench
    phones = {name: run(bench.enrol(name)) for name in ("anna", "ben")}
    run(bench.issue("ben"))  # a second keyset of the same user
    run(bench.change("ben", UserAction.BLOCK))
    asked = run(bench.ask_to_confirm("anna"))
    assert confirm(bench, "anna", phones["anna"]) == "confirmed"
    before = bench.ctx.keys.binding.newest
    done = rotate(bench)
    assert (done.version, done.rows, done.done, done.left, done.broken) == (before + 1, 5, 5, 0, set())
    assert versions(bench) == {"keysets": {before + 1}, "transactions": {before + 1}}
    assert bench.unbound() == []
    assert confirm(bench, "anna", phones["anna"], asked) == "confirmed"
    assert confirm(bench, "anna", phones["anna"]) == "confirmed"
    run(bench.change("ben", UserAction.UNBLOCK))
    assert bench.rows("SELECT * FROM events WHERE result = 'alarm'") == []
    assert len(bench.rows("SELECT * FROM events WHERE type = 'house_key.rotated'")) == 2


def test_what_was_killed_in_the_middle_goes_on_with_the_same_version(bench: Bench):
    phone = run(bench.enrol("anna"))
    asked = run(bench.ask_to_confirm("anna"))
    before = bench.ctx.keys.binding.newest

    def kill(_: Progress) -> None:
        raise Killed

    with pytest.raises(Killed):
        run(rotation.rotate_binding(bench.ctx, kill, 0))
    assert versions(bench) == {"keysets": {before + 1}, "transactions": {before}}
    assert confirm(bench, "anna", phone) == "confirmed"
    done = rotate(bench)
    assert (done.version, done.done, done.left) == (before + 1, 1, 0)
    assert confirm(bench, "anna", phone, asked) == "confirmed"


def test_an_outage_on_the_way_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    run(bench.enrol("anna"))
    run(bench.ask_to_confirm("anna"))
    monkeypatch.setattr(rotation, "_OUTAGE_SECONDS", 0.01)
    outages = [Outage("database: locked"), DeviceUnavailable("away")]

    def fail_twice(_: Progress) -> None:
        if outages:
            raise outages.pop()

    done = run(rotation.rotate_binding(bench.ctx, fail_twice, 0))
    assert (done.done, done.left, outages) == (2, 0, [])


def test_a_row_that_the_hsm_does_not_vouch_for_is_not_vouched_for_by_a_rotation(any_bench: Bench):
    bench = any_bench
    phone = run(bench.enrol("anna"))
    run(bench.enrol("ben"))
    asked = run(bench.ask_to_confirm("anna"))
    bench.write("UPDATE keysets SET digits = 10 WHERE id = :id", id=phone.account.keyset)
    bench.write("UPDATE transactions SET title = 'Gift' WHERE id = :id", id=asked)
    done = rotate(bench)
    assert done.broken == {phone.account.keyset, asked}
    assert (done.left, done.done, done.is_complete) == (2, 1, False)
    assert bench.unbound() == [phone.account.keyset]
    alarms = bench.rows("SELECT type FROM events WHERE result = 'alarm' ORDER BY type")
    assert [row[0] for row in alarms] == ["keyset.binding_broken", "transaction.binding_broken"]


def test_a_process_that_has_not_learned_of_a_version_answers_with_an_outage_until_it_has(bench: Bench):
    phone = run(bench.enrol("anna"))
    with another_process(bench) as other:
        rotate(bench)
        keyset, user = bench.keyset(phone.account.keyset), UserStatus.ACTIVE
        with pytest.raises(DeviceUnavailable, match="new version"):
            bindings.is_bound(other, keyset, user)
        other.keys.refresh()
        assert bindings.is_bound(other, keyset, user)
        assert bindings.bind(other, keyset, user).binding == keyset.binding


def test_rows_that_others_wrote_under_the_old_version_meanwhile_are_bound_as_well(bench: Bench):
    run(bench.enrol("anna"))
    with another_process(bench) as other:
        late = Bench(other, bench.clock, bench.asker)
        told: list[int] = []

        def write_late(_: Progress) -> None:
            if not told:
                told.append(1)
                run_in_thread(lambda: run(late.create_user("late")))
                run_in_thread(lambda: run(late.issue("late")))

        done = run(rotation.rotate_binding(bench.ctx, write_late, 0))
    assert (done.rows, done.done, done.left) == (1, 2, 0)


def run_in_thread(work: Callable[[], object]) -> None:
    """A loop of the other process does not run inside this one's."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_an_old_version_is_destroyed_only_when_no_row_uses_it_and_never_the_newest(bench: Bench):
    phone = run(bench.enrol("anna"))
    old = bench.ctx.keys.binding.newest
    seen = bench.keyset(phone.account.keyset)
    for version, why in (
        (old, "no old version"),
        (old + 1, "no old version"),
    ):
        with pytest.raises(Refusal, match=why):
            retire(bench, "binding", version)
    rotate(bench)
    # As it was before: the old key still vouches for it.
    bench.write("UPDATE keysets SET binding = :mac, binding_version = :old", mac=seen.binding, old=old)
    with pytest.raises(Refusal, match="rows still rest"):
        retire(bench, "binding", old)
    assert rotate(bench).done == 1
    retire(bench, "binding", old)
    assert bench.device.find_house_key("binding", old) is None
    assert confirm(bench, "anna", phone) == "confirmed"
    bench.write("UPDATE keysets SET binding = :mac, binding_version = :old", mac=seen.binding, old=old)
    assert bench.unbound() == [phone.account.keyset]
    assert "binding" not in assembly.create_house_keys(bench.device)


def test_receipts_are_signed_by_the_newest_version_and_all_of_them_verify(bench: Bench):
    assembly.prepare(bench.ctx.database, bench.device, bench.clock)  # notes the first version
    phone = run(bench.enrol("anna"))
    receipts = []
    with another_process(bench) as other:
        for _ in range(2):
            asked = run(bench.ask_to_confirm("anna"))
            confirm(bench, "anna", phone, asked)
            (row,) = bench.rows(f"SELECT receipt FROM attempts WHERE transaction_id = '{asked}'")  # noqa: S608
            receipts.append(row[0])
            run(rotation.rotate_receipt(bench.ctx, 5))
        published = run(receipt_key_set(bench.ctx))
        signed = [read(each) for each in receipts]
        first, second, third = published["keys"][-3:]
        assert [each.header["kid"] for each in signed] == [first["kid"], second["kid"]]
        for compact in receipts:
            assert verify_receipt(compact, published)["user"] == "anna"
        ends = int(bench.clock.now().timestamp()) + 65
        assert [each.get("exp") for each in (first, second, third)] == [ends, ends, None]
        # A process that began before finds the key of a receipt on the token, and takes no other for one.
        found = other.keys.receipts.find(second["kid"])
        assert found is not None
        assert other.device.verify(
            found.public, sha256(signed[1].signing_input).digest(), signed[1].signature
        )
        assert other.keys.receipts.find("unknown") is None
    with pytest.raises(Refusal, match="as long as anybody keeps them"):
        retire(bench, "receipt", 1)


def test_keys_of_new_keysets_are_derived_from_the_newest_master(own_device: Device, tmp_path: Path):
    with (
        migrated_database("sqlite", tmp_path) as database,
        opened_bench(database, own_device, Policy(residency=Residency.DERIVED)) as bench,
    ):
        first = run(bench.enrol("anna"))
        newest = bench.ctx.keys.master.newest if bench.ctx.keys.master else 0
        assert run(rotation.rotate_master(bench.ctx)) == newest + 1
        second = run(bench.enrol("ben"))
        found = {
            (each.name, each.version): each.used
            for each in run(rotation.list_versions(bench.ctx))
            if each.name == "master" and each.used
        }
        assert found == {("master", newest): {"keysets": 1}, ("master", newest + 1): {"keysets": 1}}
        assert confirm(bench, "anna", first) == confirm(bench, "ben", second) == "confirmed"
        with pytest.raises(Refusal, match="rows still rest"):
            retire(bench, "master", newest)


def test_an_old_master_is_kept_if_another_process_still_made_keys_of_it(own_device: Device, tmp_path: Path):
    with (
        migrated_database("sqlite", tmp_path) as database,
        opened_bench(database, own_device, Policy(residency=Residency.DERIVED)) as bench,
        another_process(bench) as other,
    ):
        run(bench.create_user("anna"))
        old = other.keys.master.newest if other.keys.master else 0
        run(rotation.rotate_master(bench.ctx))
        late = replace(bench, ctx=other)
        with pytest.raises(Refusal, match="rows still rest"):
            run(rotation.retire(bench.ctx, "master", old, lambda: late.issue("anna")))
        assert bench.device.find_house_key("master", old) is not None
