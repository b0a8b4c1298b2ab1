"""Are flags and password rules of one user kept, told to its phone, and held to by the server?"""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.refusals import Refusal
from gateway.rules.user import UserAction
from gateway.scenarios import user_settings
from gateway.scenarios.user_lifecycle import fetch_user
from gateway.store.tables import events
from tests.counterparts.phone import Phone
from tests.counterparts.phone_package import Flags, Package, Policy
from tests.counterparts.phone_tlv import unb64
from tests.scenarios.bench import ORIGIN, Bench, run


def _put(bench: Bench, user: str = "anna", **settings: Any) -> Coroutine[Any, Any, dict[str, Any]]:
    return user_settings.put_settings(bench.ctx, bench.asker, user, settings, ORIGIN)


def _code(work: Coroutine[Any, Any, Any]) -> str:
    try:
        run(work)
    except Refusal as refusal:
        return refusal.problem.code
    return "done"


def _changes(bench: Bench) -> list[dict[str, Any]]:
    chosen = sa.select(events.c.detail).where(events.c.type == "user.settings_changed")
    return [row.detail for row in bench.rows(chosen.order_by(events.c.number))]


def _by_finger(phone: Phone) -> None:
    phone.device = {"uv": "biometric"}


def test_settings_travel_in_the_next_package_and_in_the_next_list(any_bench: Bench):
    bench = any_bench
    phone, other = run(bench.enrol("anna")), run(bench.enrol("berta"))
    run(_put(bench, password_length=10, password_classes=4, collect_events=True))
    for each, length in ((phone, 10), (other, 6)):
        told = Policy.decode(unb64(run(bench.ask(each, "transactions.pending", {}))["policy"]))
        assert told.password_length == length
        assert (Flags.COLLECT_EVENTS in told.flags) is (length == 10)
    package = Package.decode(run(bench.issue("anna")).package.encode())
    assert (package.policy.password_length, package.policy.password_classes) == (10, 4)
    assert Package.decode(run(bench.issue("berta")).package.encode()).policy.password_length == 6


def test_each_change_is_an_event_and_what_changes_nothing_is_none(bench: Bench):
    run(bench.create_user("anna"))
    assert run(_put(bench, forbid_biometrics=True))["settings"] == {"forbid_biometrics": True}
    run(_put(bench, forbid_biometrics=True))
    run(_put(bench))
    assert _changes(bench) == [
        {"settings": {"forbid_biometrics": True}, "before": {}},
        {"settings": {}, "before": {"forbid_biometrics": True}},
    ]
    assert run(fetch_user(bench.ctx, bench.asker.application, "anna"))["settings"] == {}


def test_a_phone_that_may_not_renew_its_keys_keeps_the_old_ones(bench: Bench):
    phone = run(bench.enrol("anna"))
    body = phone.renewal_body(rsa.generate_private_key(65537, 3072))
    run(_put(bench, renewal_allowed=False))
    assert _code(bench.ask(phone, "keys.renew", body)) == "not_allowed_by_policy"
    assert len(bench.rows("SELECT id FROM keysets")) == 1
    run(_put(bench, renewal_allowed=True))
    assert _code(bench.ask(phone, "keys.renew", body)) == "done"


def test_an_answer_that_a_finger_unlocked_is_refused_where_the_password_is_required(bench: Bench):
    phone = run(bench.enrol("anna"))
    shown = run(bench.show(phone, run(bench.ask_to_confirm("anna"))))
    run(_put(bench, forbid_biometrics=True))
    _by_finger(phone)
    assert _code(bench.approve(phone, shown)) == "not_allowed_by_policy"
    assert bench.failures("anna") == 0
    phone.device = {"uv": "password"}
    assert _code(bench.approve(phone, shown)) == "done"


@pytest.mark.parametrize("since", [True, False])
def test_keys_are_bound_to_a_device_if_the_package_said_so_or_it_was_decided_since(
    bench: Bench, *, since: bool
):
    run(bench.create_user("anna"))
    run(_put(bench, bind_to_device=not since))
    phone = bench.phone(run(bench.issue("anna")))
    run(_put(bench, bind_to_device=since))
    unbound = replace(phone.account, fingerprint=b"")
    phone.account = unbound
    assert _code(bench.ask(phone, "keys.register", phone.registration_body())) == "not_allowed_by_policy"


def test_a_user_may_be_let_off_the_binding_to_a_device(bench: Bench):
    run(bench.create_user("anna"))
    run(_put(bench, bind_to_device=False))
    phone = bench.phone(run(bench.issue("anna")))
    assert phone.account.fingerprint == b""
    run(bench.register(phone))
    shown = run(bench.show(phone, run(bench.ask_to_confirm("anna"))))
    assert run(bench.approve(phone, shown))["status"] == "confirmed"
    assert (
        "bind_to_device"
        not in run(fetch_user(bench.ctx, bench.asker.application, "anna"))["keysets"][0]["flags"]
    )


def test_a_user_that_is_blocked_deleted_or_unknown_keeps_what_was_decided(bench: Bench):
    run(bench.enrol("anna"))
    assert _code(_put(bench, "berta", password_length=9)) == "not_found"
    run(bench.change("anna", UserAction.BLOCK))
    assert _code(_put(bench, password_length=9)) == "user_blocked"
    run(bench.change("anna", UserAction.DELETE))
    assert _code(_put(bench, password_length=9)) == "user_deleted"
    assert _changes(bench) == []


def test_settings_put_at_once_are_each_in_force_for_a_while_and_the_log_has_their_order(any_bench: Bench):
    bench = any_bench
    run(bench.enrol("anna"))

    async def all_at_once() -> None:
        await asyncio.gather(*(_put(bench, password_length=length) for length in (7, 8, 9)))

    run(all_at_once())
    changes = _changes(bench)
    assert [each["before"] for each in changes] == [{}, *(each["settings"] for each in changes[:-1])]
    found = run(fetch_user(bench.ctx, bench.asker.application, "anna"))["settings"]
    assert found == changes[-1]["settings"]
    assert bench.unbound() == []
