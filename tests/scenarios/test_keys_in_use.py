"""Are keys that somebody still needs kept, whatever is written beside the gateway?"""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway.refusals import Refusal
from gateway.rules.keyset import Delivery, KeysetStatus
from gateway.rules.policy import Policy
from gateway.rules.user import UserAction
from gateway.scenarios import device_lifecycle, housekeeping
from gateway.scenarios.questions import Question
from gateway.scenarios.verification import verify_signature
from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Shown
from tests.scenarios.bench import ORIGIN, Bench, opened_bench, run

ALARM = "SELECT reason, user_id, keyset_id FROM events WHERE type = 'keyset.binding_broken'"


def _doom(bench: Bench, uri: str) -> None:
    at = bench.clock.now().strftime("%Y-%m-%d %H:%M:%S.%f")
    bench.write(
        "INSERT INTO loose_keys (uri, keyset_id, planned_at, doomed_at) VALUES (:uri, 'ks_x', :at, :at)",
        uri=uri,
        at=at,
    )


def _names(bench: Bench) -> set[str]:
    return {key.uri() for key in bench.device.user_keys()}


def _sweep(bench: Bench) -> None:
    for _ in range(2):
        run(housekeeping.sweep_keys(bench.ctx))
    assert bench.rows("SELECT * FROM loose_keys") == []


@pytest.mark.parametrize("role", ["khmac", "kauth", "kpublic"])
def test_the_sweep_destroys_no_key_of_an_open_keyset_and_says_once_who_asked_for_it(
    any_bench: Bench, role: str
):
    bench = any_bench
    phone = run(bench.enrol("anna"))
    uri = getattr(bench.keyset(phone.account.keyset), role)
    _doom(bench, uri)
    _sweep(bench)
    assert uri in _names(bench)
    (alarm,) = bench.rows(ALARM)
    assert tuple(alarm) == ("a keyset needs the key", "anna", phone.account.keyset)
    assert run(bench.approve(phone, run(bench.show(phone, run(bench.ask_to_confirm("anna"))))))


@pytest.mark.parametrize("role", ["khmac", "kpublic"])
def test_the_sweep_destroys_no_key_that_verifies_old_answers(bench: Bench, role: str):
    phone = run(bench.enrol("anna"))
    keyset = bench.keyset(phone.account.keyset)
    run(bench.change("anna", UserAction.DELETE))
    _doom(bench, getattr(keyset, role))
    _sweep(bench)
    assert getattr(keyset, role) in _names(bench)
    assert keyset.kauth not in _names(bench)
    assert len(bench.rows(ALARM)) == 1


def test_another_spelling_of_the_same_key_does_not_mislead_the_sweep(bench: Bench):
    phone = run(bench.enrol("anna"))
    uri = bench.keyset(phone.account.keyset).khmac
    name, kind = uri.removeprefix("pkcs11:").split(";")
    for other in (f"pkcs11:{kind};{name}", f"PKCS11:{name.lower()};{kind}"):
        _doom(bench, other)
    _sweep(bench)
    assert uri in _names(bench)
    assert len(bench.rows(ALARM)) == 2


@pytest.mark.parametrize("status", ["void", "lapsed", "deleted"])
def test_a_keyset_that_was_ended_beside_the_gateway_loses_nothing(bench: Bench, status: str):
    phone = run(bench.enrol("anna"))
    keyset = bench.keyset(phone.account.keyset)
    bench.write("UPDATE keysets SET status = :status", status=status)
    for uri in (keyset.khmac, keyset.kauth):
        _doom(bench, uri)
    _sweep(bench)
    assert {keyset.khmac, keyset.kauth} <= _names(bench)
    assert len(bench.rows(ALARM)) == 2
    bench.write("UPDATE keysets SET status = 'active'")
    assert bench.keyset(keyset.id).status is KeysetStatus.ACTIVE
    assert run(bench.ask(phone, "transactions.pending", {}))["transactions"] == []


@contextlib.contextmanager
def _without_kpublic(bench: Bench) -> Iterator[Bench]:
    policy = Policy(kpublic_required=False, weak_secret=True, bind_to_device=False)
    with opened_bench(bench.ctx.database, bench.device, policy) as other:
        yield other


async def _answered(bench: Bench) -> tuple[Phone, Shown]:
    """A phone that confirmed by code alone, under a keyset that will lapse."""
    await bench.create_user("anna")
    issued = await bench.issue("anna", delivery=Delivery.ONLINE, secret="abc123")
    phone = Phone.enrol(issued.package.to_qr(), secret="abc123", clock=bench.clock.now)
    shown = await bench.show(phone, await bench.ask_to_confirm("anna"))
    assert (await bench.approve(phone, shown))["status"] == "confirmed"
    return phone, shown


async def _verdict(bench: Bench, shown: Shown) -> bool:
    (row,) = bench.rows("SELECT step, code FROM attempts")
    question = Question(
        about_id=shown.transaction,
        operation="approve",
        content_sha256=None,
        step=row.step,
        code=bytes(row.code),
        signature=None,
    )
    return bool((await verify_signature(bench.ctx, bench.asker, question, ORIGIN))["valid"])


def test_what_was_confirmed_by_code_alone_verifies_after_the_keyset_has_lapsed(any_bench: Bench):
    with _without_kpublic(any_bench) as bench:
        phone, shown = run(_answered(bench))
        bench.clock.move(minutes=10)
        assert run(housekeeping.lapse_keysets(bench.ctx)) == 1
        _sweep(bench)
        keyset = bench.keyset(phone.account.keyset)
        assert keyset.status is KeysetStatus.LAPSED
        assert (keyset.khmac in _names(bench), keyset.kauth in _names(bench)) == (True, False)
        assert run(_verdict(bench, shown))
        assert bench.rows(ALARM) == []
        _doom(bench, keyset.khmac)
        _sweep(bench)
        assert run(_verdict(bench, shown))


def test_what_was_confirmed_by_code_alone_verifies_after_the_keyset_became_void(bench: Bench):
    with _without_kpublic(bench) as other:
        phone, shown = run(_answered(other))
        phone.account = replace(phone.account, package_digest=bytes(32))
        with pytest.raises(Refusal, match="package_differs"):
            run(other.register(phone))
        other.clock.move(minutes=11)
        run(housekeeping.sweep_keys(other.ctx))
        _sweep(other)
        assert other.rows(ALARM) == []
        assert run(_verdict(other, shown))


def test_a_broken_row_that_lapses_costs_nobody_a_key_and_holds_nobody_up(bench: Bench):
    berta = run(bench.enrol("berta"))
    run(bench.create_user("anna"))
    forged = run(bench.issue("anna")).keyset["id"]
    run(bench.create_user("carla"))
    honest = run(bench.issue("carla")).keyset["id"]
    needed = bench.keyset(berta.account.keyset)
    before = _names(bench)
    bench.write("UPDATE keysets SET khmac = 'moved', kauth = 'away' WHERE user_id = 'berta'")
    bench.write(
        "UPDATE keysets SET khmac = :khmac, kauth = :kauth WHERE user_id = 'anna'",
        khmac=needed.khmac,
        kauth=needed.kauth,
    )
    bench.clock.move(hours=72)
    for _ in range(3):
        run(housekeeping.lapse_keysets(bench.ctx))
    _sweep(bench)
    assert _names(bench) == before - {bench.keyset(honest).khmac, bench.keyset(honest).kauth}
    assert [row.keyset_id for row in bench.rows(ALARM)] == [forged]
    ended = bench.rows("SELECT keyset_id FROM events WHERE type = 'keyset.ended'")
    assert [row.keyset_id for row in ended] == [honest]


@pytest.mark.parametrize("how", ["issued again", "user deleted", "device removed"])
def test_keys_that_were_never_used_leave_nothing_on_the_token(any_bench: Bench, how: str):
    """Else whoever may have keys made could fill the token with them, for everybody."""
    bench = any_bench
    run(bench.create_user("anna"))
    before = _names(bench)
    for _ in range(3):
        issued = run(bench.issue("anna"))
    if how == "issued again":
        assert len(_names(bench) - before) == 6
    elif how == "user deleted":
        run(bench.change("anna", UserAction.DELETE))
    else:
        device = issued.keyset["device"]["id"]
        run(device_lifecycle.remove_device(bench.ctx, bench.asker.application, "anna", device, ORIGIN))
    _sweep(bench)
    assert len(_names(bench) - before) == (2 if how == "issued again" else 0)
    assert bench.rows(ALARM) == []


def test_a_replaced_keyset_that_answered_by_code_alone_keeps_what_verifies_the_answer(any_bench: Bench):
    with _without_kpublic(any_bench) as bench:
        phone, shown = run(_answered(bench))
        run(bench.issue("anna"))
        _sweep(bench)
        keyset = bench.keyset(phone.account.keyset)
        assert keyset.status is KeysetStatus.DELETED
        assert (keyset.khmac in _names(bench), keyset.kauth in _names(bench)) == (True, False)
        assert run(_verdict(bench, shown))
