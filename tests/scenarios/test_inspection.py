"""Does the comparison of token and database find what belongs to nobody, and what is gone?"""

import asyncio

import pytest
import sqlalchemy as sa

from gateway.rules.user import UserAction
from gateway.scenarios import inspection
from gateway.scenarios.inspection import Rows
from gateway.scenarios.orphans import destroy_orphans, find_orphans
from gateway.store.tables import events
from hsm.keys import KeyRef
from tests.scenarios.bench import Bench, run


def compared(bench: Bench) -> inspection.Comparison:
    rows = inspection.read_rows(bench.ctx.database)
    return inspection.compare(rows, [key.uri() for key in bench.device.user_keys()], rows)


@pytest.fixture(autouse=True)
def _empty_token(bench: Bench) -> None:
    for key in bench.device.user_keys():
        bench.device.destroy(key)


def test_a_key_that_no_row_names_is_an_orphan_and_no_other(bench: Bench):
    run(bench.enrol("anna"))
    assert compared(bench) == inspection.Comparison(orphans=(), missing=())
    bench.device.issue(bytes(32), [b"\x07" * 16], "countersign-user-khmac")
    assert compared(bench).orphans == ("pkcs11:id=" + "%07" * 16 + ";type=secret-key",)


def test_orphans_are_destroyed_on_command_and_nothing_else(bench: Bench):
    phone = run(bench.enrol("anna"))
    bench.device.issue(bytes(32), [b"\x07" * 16], "countersign-user-khmac")
    (orphan,) = run(find_orphans(bench.ctx))
    assert run(destroy_orphans(bench.ctx)) == (orphan,)
    assert run(find_orphans(bench.ctx)) == ()
    (event,) = bench.rows(sa.select(events).where(events.c.type == "key.destroyed"))
    assert (event.detail, event.reason) == ({"key": orphan}, "named by no row, on an operator's command")
    assert run(bench.approve(phone, run(bench.show(phone, run(bench.ask_to_confirm("anna"))))))
    assert compared(bench) == inspection.Comparison(orphans=(), missing=())


def test_a_key_that_waits_to_be_destroyed_is_no_orphan(bench: Bench):
    run(bench.enrol("anna"))
    run(bench.change("anna", UserAction.DELETE))
    assert compared(bench) == inspection.Comparison(orphans=(), missing=())


def test_a_row_whose_key_is_gone_is_told_with_its_keyset(bench: Bench):
    phone = run(bench.enrol("anna"))
    keyset = bench.keyset(phone.account.keyset)
    for name in (keyset.khmac, keyset.kauth, keyset.kpublic or ""):
        bench.device.destroy(KeyRef.parse(name))
    missing = compared(bench).missing
    assert missing is not None
    assert dict(missing) == dict.fromkeys((keyset.khmac, keyset.kauth, keyset.kpublic), keyset.id)


def test_kauth_of_an_ended_keyset_may_be_gone_while_khmac_may_not(bench: Bench):
    phone = run(bench.enrol("anna"))
    run(bench.change("anna", UserAction.DELETE))
    keyset = bench.keyset(phone.account.keyset)
    bench.device.destroy(KeyRef.parse(keyset.kauth))
    assert compared(bench).missing == ()
    bench.device.destroy(KeyRef.parse(keyset.khmac))
    assert compared(bench).missing == ((keyset.khmac, keyset.id),)


def test_what_changed_while_the_token_was_read_is_not_told():
    old, new = Rows(frozenset({"a", "b"}), {"a": "ks_1"}), Rows(frozenset({"c"}), {"c": "ks_2"})
    assert inspection.compare(old, ["b", "c"], new) == inspection.Comparison(orphans=(), missing=())
    assert inspection.compare(old, ["d"], new).orphans == ("d",)


def test_the_growth_is_what_enrolments_and_renewals_added(any_bench: Bench):
    bench = any_bench
    assert inspection.growth_of(bench.ctx.database, bench.clock.now()) is None
    run(asyncio.wait_for(bench.enrol("anna"), 60))
    run(bench.create_user("berta"))
    run(bench.issue("berta"))
    bench.clock.move(days=4)
    run(bench.issue("berta"))  # replaces her first
    growth = inspection.growth_of(bench.ctx.database, bench.clock.now())
    assert growth is not None
    assert (growth.days, growth.enrolments, growth.renewals) == (4, 2, 1)
    assert (growth.added, growth.removed) == (3 + 2 + 2, 1)
    bench.clock.move(days=60)
    later = inspection.growth_of(bench.ctx.database, bench.clock.now())
    assert later is not None
    assert (later.days, later.per_day) == (30, 0)


def test_room_is_what_the_operator_says_or_the_module_tells():
    told = {"free": 10_500, "bytes_per_object": 1000.0}
    assert inspection.room_of(told, 3, None) == 10
    assert inspection.room_of(told, 3, 5) == 2
    assert inspection.room_of({"free": 10_500, "bytes_per_object": None}, 3, None) is None
    assert inspection.room_of({}, None, 5) is None


def test_the_database_of_another_token_is_known_as_such(bench: Bench):
    assert not inspection.is_of_token(bench.ctx.database, None)
    assert not inspection.is_of_token(bench.ctx.database, bench.ctx.keys.receipt_point)
