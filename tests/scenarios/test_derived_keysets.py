"""Do keys that are not on the token serve a whole life: enrolled, used, replaced, ended, and verified afterwards?"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.refusals import Refusal
from gateway.rules.keyset import Delivery, Keyset, KeysetStatus
from gateway.rules.policy import Policy, Residency
from gateway.rules.user import UserAction
from gateway.scenarios import housekeeping, policies
from gateway.scenarios.questions import Question
from gateway.scenarios.verification import verify_signature
from gateway.wire import keyname
from hsm.device import Device
from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Shown
from tests.scenarios.bench import ORIGIN, Bench, opened_bench, run
from tests.store.databases import KINDS, migrated_database

DERIVED = Policy(residency=Residency.DERIVED)


@pytest.fixture(params=KINDS)
def derived_bench(request: pytest.FixtureRequest, tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """A bench whose keys are derived, on each kind of database."""
    with (
        migrated_database(request.param, tmp_path) as database,
        opened_bench(database, own_device, DERIVED) as made,
    ):
        yield made


@contextlib.contextmanager
def nothing_on_the_token(bench: Bench) -> Iterator[None]:
    """Hold that the token has the same objects afterwards."""
    before = set(bench.device.user_keys())
    yield
    assert set(bench.device.user_keys()) == before
    assert bench.rows("SELECT * FROM loose_keys") == []


async def _confirm(bench: Bench, phone: Phone) -> Shown:
    shown = await bench.show(phone, await bench.ask_to_confirm(phone.account.user))
    assert (await bench.approve(phone, shown))["status"] == "confirmed"
    return shown


async def _verdict(bench: Bench, shown: Shown, **changed: bytes) -> dict[str, object]:
    (row,) = [
        each
        for each in bench.rows("SELECT transaction_id, step, code, signature FROM attempts")
        if each.transaction_id == shown.transaction
    ]
    question = Question(
        about_id=shown.transaction,
        operation="approve",
        content_sha256=None,
        step=row.step,
        code=changed.get("code", bytes(row.code)),
        signature=changed.get("signature", bytes(row.signature)),
    )
    return await verify_signature(bench.ctx, bench.asker, question, ORIGIN)


def _change_policy(bench: Bench, residency: str) -> None:
    run(policies.put_policy(bench.ctx, bench.asker, {"residency": residency}, ORIGIN))
    bench.asker = bench.present()


def _kinds(keyset: Keyset) -> set[str]:
    return {str(name).partition(":")[0] for name in (keyset.khmac, keyset.kauth, keyset.kpublic)}


def test_a_user_of_derived_keys_enrols_confirms_and_leaves_nothing_on_the_token(derived_bench: Bench):
    with nothing_on_the_token(derived_bench):
        phone = run(derived_bench.enrol("anna"))
        shown = run(_confirm(derived_bench, phone))
        assert run(_verdict(derived_bench, shown))["valid"] is True
    keyset = derived_bench.keyset(phone.account.keyset)
    assert keyname.is_salted(keyset.khmac)
    assert keyname.is_salted(keyset.kauth)
    assert keyset.kpublic is not None
    assert keyset.spki is not None
    assert keyset.spki.endswith(keyname.read_point(keyset.kpublic))
    assert derived_bench.unbound() == []


def test_wrong_codes_and_signatures_of_derived_keys_are_refused_and_counted(derived_bench: Bench):
    phone = run(derived_bench.enrol("anna"))
    other = run(derived_bench.enrol("otto"))
    shown = run(derived_bench.show(phone, run(derived_bench.ask_to_confirm("anna"))))
    with pytest.raises(Refusal) as refused:
        run(derived_bench.approve_wrongly(phone, shown))
    assert refused.value.problem.code == "proof_refused"
    theirs = Phone(phone.account, other.keys, clock=phone.clock)
    body = {**phone.confirmation_body(shown, 1), "signature": theirs.confirmation_body(shown, 1)["signature"]}
    with pytest.raises(Refusal) as refused:
        run(derived_bench.ask(phone, "transactions.approve", body))
    assert refused.value.problem.code == "proof_refused"
    with pytest.raises(Refusal, match="authentication"):
        run(derived_bench.ask(theirs, "transactions.pending", {}))
    assert derived_bench.failures("anna") == 2


@pytest.mark.parametrize("delivery", [Delivery.ONLINE, Delivery.QR_AND_CODE])
def test_derived_keys_travel_in_every_delivery(derived_bench: Bench, delivery: Delivery):
    secret = "JBSWY3DPEHPK3PXPJBSWY3DP" if delivery is Delivery.ONLINE else None
    run(derived_bench.create_user("anna"))
    issued = run(derived_bench.issue("anna", delivery=delivery, secret=secret))
    assert issued.package.khmac != issued.package.kauth
    if secret is not None:
        phone = Phone.enrol(issued.package.to_qr(), secret=secret, clock=derived_bench.clock.now)
        run(derived_bench.register(phone))
        run(_confirm(derived_bench, phone))


def test_each_keyset_of_a_user_has_other_keys(derived_bench: Bench):
    phones = [run(derived_bench.enrol("anna")) for _ in range(3)]
    secrets = {part for phone in phones for part in (phone.keys.khmac, phone.keys.kauth)}
    assert len(secrets) == 6


def test_a_replaced_keyset_forgets_kauth_and_verifies_old_answers_for_ever(derived_bench: Bench):
    phone = run(derived_bench.enrol("anna"))
    shown = run(_confirm(derived_bench, phone))
    before = derived_bench.keyset(phone.account.keyset)
    run(derived_bench.enrol("anna"))
    ended = derived_bench.keyset(phone.account.keyset)
    assert ended.status is KeysetStatus.DELETED
    assert ended.kauth == f"derived:master=1;forgotten={ended.id}"
    assert (ended.khmac, ended.kpublic) == (before.khmac, before.kpublic)
    salt = before.kauth.partition("salt=")[2]
    assert salt not in str([tuple(row) for row in derived_bench.rows("SELECT * FROM keysets")])
    assert run(_verdict(derived_bench, shown))["valid"] is True
    assert run(_verdict(derived_bench, shown, code=bytes(32)))["valid"] is False
    with pytest.raises(Refusal, match="authentication"):
        run(derived_bench.ask(phone, "transactions.pending", {}))
    assert derived_bench.unbound() == []


def test_block_unblock_and_delete_have_the_same_consequences(derived_bench: Bench):
    phone = run(derived_bench.enrol("anna"))
    shown = run(_confirm(derived_bench, phone))
    run(derived_bench.change("anna", UserAction.BLOCK))
    with pytest.raises(Refusal, match="authentication"):
        run(derived_bench.ask(phone, "transactions.pending", {}))
    assert run(_verdict(derived_bench, shown))["valid"] is True
    run(derived_bench.change("anna", UserAction.UNBLOCK))
    run(_confirm(derived_bench, phone))
    run(derived_bench.change("anna", UserAction.DELETE))
    keyset = derived_bench.keyset(phone.account.keyset)
    assert keyname.is_forgotten(keyset.kauth)
    assert run(_verdict(derived_bench, shown))["valid"] is True
    assert derived_bench.unbound() == []


def test_a_keyset_that_was_never_used_forgets_both_secrets_when_it_lapses(derived_bench: Bench):
    with nothing_on_the_token(derived_bench):
        run(derived_bench.create_user("anna"))
        phone = derived_bench.phone(run(derived_bench.issue("anna")))
        derived_bench.clock.move(hours=73)
        assert run(housekeeping.lapse_keysets(derived_bench.ctx)) == 1
        assert run(housekeeping.sweep_keys(derived_bench.ctx)) == 0
    lapsed = derived_bench.keyset(phone.account.keyset)
    assert lapsed.status is KeysetStatus.LAPSED
    assert keyname.is_forgotten(lapsed.khmac)
    assert keyname.is_forgotten(lapsed.kauth)
    assert derived_bench.unbound() == []


def test_a_package_that_was_altered_ends_its_keyset_and_both_secrets_are_forgotten(derived_bench: Bench):
    run(derived_bench.create_user("anna"))
    phone = derived_bench.phone(run(derived_bench.issue("anna")))
    body = {**phone.registration_body(), "package": "A" * 43 + "="}
    with pytest.raises(Refusal) as refused:
        run(derived_bench.ask(phone, "keys.register", body))
    assert refused.value.problem.code == "package_differs"
    void = derived_bench.keyset(phone.account.keyset)
    assert void.status is KeysetStatus.VOID
    assert keyname.is_forgotten(void.khmac)
    assert keyname.is_forgotten(void.kauth)


def test_a_change_of_residency_takes_each_user_along_with_the_next_keyset(any_bench: Bench):
    phone = run(any_bench.enrol("anna"))
    shown = [run(_confirm(any_bench, phone))]
    _change_policy(any_bench, "derived")
    shown.append(run(_confirm(any_bench, phone)))
    assert _kinds(any_bench.keyset(phone.account.keyset)) == {"pkcs11"}
    moved = run(any_bench.enrol("anna"))
    shown.append(run(_confirm(any_bench, moved)))
    assert _kinds(any_bench.keyset(moved.account.keyset)) == {"derived", "point"}
    run(housekeeping.sweep_keys(any_bench.ctx))
    left = {key.uri() for key in any_bench.device.user_keys()}
    ended = any_bench.keyset(phone.account.keyset)
    assert (ended.khmac in left, ended.kpublic in left, ended.kauth in left) == (True, True, False)
    _change_policy(any_bench, "resident")
    back = run(any_bench.enrol("anna"))
    shown.append(run(_confirm(any_bench, back)))
    assert _kinds(any_bench.keyset(back.account.keyset)) == {"pkcs11"}
    assert [run(_verdict(any_bench, each))["valid"] for each in shown] == [True] * 4
    assert any_bench.unbound() == []


def test_a_phone_registered_after_a_change_of_policy_keeps_its_key_where_the_others_are(any_bench: Bench):
    run(any_bench.create_user("anna"))
    phone = any_bench.phone(run(any_bench.issue("anna")))
    _change_policy(any_bench, "derived")
    run(any_bench.register(phone))
    assert _kinds(any_bench.keyset(phone.account.keyset)) == {"pkcs11"}
    run(_confirm(any_bench, phone))


@pytest.mark.parametrize("column", ["khmac", "kauth", "kpublic"])
@pytest.mark.parametrize(
    "change", ["another salt", "the other's", "another master", "an object", "malformed"]
)
def test_a_changed_name_of_a_key_serves_nobody_and_raises_the_alarm(bench: Bench, column: str, change: str):
    _change_policy(bench, "derived")
    phone, other = run(bench.enrol("anna")), run(bench.enrol("otto"))
    row, theirs = bench.keyset(phone.account.keyset), getattr(bench.keyset(other.account.keyset), column)
    name = getattr(row, column)
    changed = {
        "another salt": name[:-2] + ("00" if name[-2:] != "00" else "01"),
        "the other's": theirs,
        "another master": name.replace("master=1", "master=2") + ("" if "master" in name else "00"),
        "an object": bench.device.house_key("decoy").uri(),
        "malformed": name + "\n",
    }[change]
    bench.write(f"UPDATE keysets SET {column} = 'away' WHERE id = :id", id=other.account.keyset)  # noqa: S608
    bench.write(f"UPDATE keysets SET {column} = :name WHERE id = :id", name=changed, id=row.id)  # noqa: S608
    with pytest.raises(Refusal, match="authentication"):
        run(bench.ask(phone, "transactions.pending", {}))
    (alarm,) = bench.rows("SELECT keyset_id FROM events WHERE type = 'keyset.binding_broken'")
    assert alarm.keyset_id == row.id
