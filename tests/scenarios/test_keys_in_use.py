"""Are keys that somebody still needs kept, whatever is written beside the gateway?"""

import pytest

from gateway.rules.keyset import KeysetStatus
from gateway.rules.user import UserAction
from gateway.scenarios import housekeeping
from tests.scenarios.bench import Bench, run

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
