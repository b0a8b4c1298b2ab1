"""What does somebody gain who can write to the database, but has neither the HSM nor anybody's phone?

Nothing that a phone or a bank could do alone: no keys of others, no blocked user's way back, no longer life.
"""

import base64
import secrets
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from gateway.store.tables import applications, attempts, credentials, keysets, users
from tests.api.probe import APPROVE, Probe
from tests.counterparts.bank import BankRefused
from tests.counterparts.phone import Phone
from tests.counterparts.phone_tlv import b64, unb64
from tests.counterparts.phone_wire import Operation, Signed, mac, sign
from tests.journeys.stage import Json, Stage

ONE_DATABASE = True
BROKEN = "keyset.binding_broken"
LATER = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3000)


def _write(stage: Stage, *statements: sa.Update | sa.Insert) -> None:
    with stage.database() as connection:
        for statement in statements:
            counted = statement.execution_options(preserve_rowcount=True)
            assert connection.execute(counted).rowcount == 1


def _keyset(keyset: str, **values: object) -> sa.Update:
    return sa.update(keysets).where(keysets.c.id == keyset).values(**values)


def _user(user: str, **values: object) -> sa.Update:
    return sa.update(users).where(users.c.user_id == user).values(**values)


def _row(stage: Stage, keyset: str) -> Json:
    with stage.database() as connection:
        return dict(connection.execute(sa.select(keysets).where(keysets.c.id == keyset)).one()._mapping)


def _expect_refused(stage: Stage, phone: Phone) -> None:
    """Nothing the phone asks is answered, and the alarm is raised."""
    answer = phone.request("transactions.pending", {})
    assert (answer.status, answer.json()["code"]) == (401, "authentication_failed")
    types = [line["type"] for line in stage.recorded(answer)]
    assert sorted(types) == ["client.authentication_failed", BROKEN]
    assert stage.events(user=phone.account.user, type=BROKEN)[-1]["keyset"] == phone.account.keyset


@pytest.mark.parametrize("handle", ["khmac", "kauth", "kpublic"])
def test_handles_swapped_between_two_users_serve_neither(stage: Stage, handle: str) -> None:
    victim, mallory = stage.phone(), stage.phone()
    first, second = _row(stage, victim.account.keyset), _row(stage, mallory.account.keyset)
    _write(
        stage,
        _keyset(first["id"], **{handle: f"swap {secrets.token_hex(8)}"}),
        _keyset(second["id"], **{handle: first[handle]}),
        _keyset(first["id"], **{handle: second[handle]}),
    )
    for phone in (victim, mallory):
        _expect_refused(stage, phone)
    # Mallory's own keys under the victim's keyset
    raw = victim.envelope("transactions.pending", {})
    assert victim.send("transactions.pending", raw, authcode=mallory.authcode(raw)).status == 401


def test_a_whole_row_of_keys_copied_over_anothers_serves_nobody(stage: Stage) -> None:
    victim, mallory = stage.phone(), stage.phone()
    own = _row(stage, mallory.account.keyset)
    taken = {name: own[name] for name in own if name not in ("id", "user_id", "khmac", "kauth", "device_id")}
    moved = {name: own[name] for name in ("khmac", "kauth")}
    _write(
        stage,
        _keyset(own["id"], khmac=f"x {secrets.token_hex(8)}", kauth=f"x {secrets.token_hex(8)}"),
        _keyset(victim.account.keyset, **taken, **moved),
    )
    raw = victim.envelope("transactions.pending", {})
    assert victim.send("transactions.pending", raw, authcode=mallory.authcode(raw)).status == 401
    _expect_refused(stage, victim)


def test_a_keyset_given_to_another_user_serves_nobody(stage: Stage) -> None:
    mallory, victim = stage.phone(), stage.user()
    _write(stage, _keyset(mallory.account.keyset, user_id=victim))
    answer = mallory.request("transactions.pending", {})
    assert answer.status == 401
    assert BROKEN in [line["type"] for line in stage.recorded(answer)]


def test_a_blocked_user_made_active_stays_blocked(stage: Stage) -> None:
    phone = stage.phone()
    shown = stage.ask(phone)
    stage.bank.block(phone.account.user)
    _write(stage, _user(phone.account.user, status="active", failures=0, reason=None))
    _expect_refused(stage, phone)
    assert phone.request(APPROVE, phone.confirmation_body(shown, Operation.APPROVE)).status == 401
    assert stage.bank.transaction(shown.transaction)["status"] == "pending"


def test_a_deleted_user_made_active_stays_deleted(stage: Stage) -> None:
    phone = stage.phone()
    stage.bank.delete_user(phone.account.user)
    _write(stage, _user(phone.account.user, status="active"))
    _write(stage, _keyset(phone.account.keyset, status="active", ended_at=None))
    _expect_refused(stage, phone)


@pytest.mark.parametrize("status", ["active", "issued"])
def test_a_replaced_keyset_made_active_stays_deleted(stage: Stage, status: str) -> None:
    old = stage.phone()
    stage.phone(old.account.user)
    _write(stage, _keyset(old.account.keyset, status=status, ended_at=None))
    _expect_refused(stage, old)


CHANGES: dict[str, Json] = {
    "another place": {"device_id": None},
    "longer life": {"valid_until": LATER},
    "no lapse": {"lapses_at": LATER},
    "another key": {"spki": bytes(91)},
    "no key": {"kpublic": None, "spki": None},
    "no key and issued again": {"kpublic": None, "spki": None, "status": "issued", "fingerprint": b""},
    "another device": {"fingerprint": bytes(32)},
    "no device": {"fingerprint": b""},
    "longer steps": {"step_seconds": 3600},
    "fewer digits": {"digits": 6},
    "weaker flags": {"flags": 0},
    "another package": {"package_sha256": bytes(32)},
    "an empty seal": {"binding": b""},
    "a seal of zeros": {"binding": bytes(32)},
    "a strange handle": {"kauth": "pkcs11:id=%00;type=secret-key"},
    "a handle with a PIN": {"khmac": "pkcs11:token=other?pin-value=1234"},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_a_changed_row_of_keys_serves_nobody(stage: Stage, changes: Json) -> None:
    phone = stage.phone()
    _write(stage, _keyset(phone.account.keyset, **changes))
    _expect_refused(stage, phone)


def test_the_row_as_it_was_serves_again(stage: Stage) -> None:
    phone = stage.phone()
    before = _row(stage, phone.account.keyset)["valid_until"]
    _write(stage, _keyset(phone.account.keyset, valid_until=LATER))
    _expect_refused(stage, phone)
    _write(stage, _keyset(phone.account.keyset, valid_until=before))
    assert phone.pending() == []


def test_changed_keys_verify_no_old_signature(stage: Stage) -> None:
    phone = stage.phone()
    shown = stage.ask(phone)
    phone.approve(shown)
    signed = stage.bank.transaction(shown.transaction)["confirmation"]
    _write(stage, _keyset(phone.account.keyset, spki=bytes(91)))
    with pytest.raises(BankRefused) as refused:
        stage.bank.verify(shown.transaction, step=signed["step"], code=signed["code"])
    assert (refused.value.status, refused.value.code) == (409, "integrity_failure")
    assert stage.events(user=phone.account.user, type=BROKEN)[-1]["keyset"] == phone.account.keyset


def test_changed_keys_get_no_activation_code(stage: Stage) -> None:
    user = stage.user()
    issued = stage.bank.issue_keyset(user, "qr_and_code")
    _write(stage, _keyset(issued.id, valid_until=LATER))
    with pytest.raises(BankRefused) as refused:
        stage.bank.activation_code(user, issued.id)
    assert refused.value.code == "integrity_failure"
    assert stage.events(user=user, type=BROKEN)[-1]["keyset"] == issued.id


@pytest.mark.parametrize("call", ["block", "delete_user"])
def test_no_change_of_the_user_heals_a_changed_row(stage: Stage, call: str) -> None:
    phone = stage.phone()
    _write(stage, _keyset(phone.account.keyset, valid_until=LATER))
    getattr(stage.bank, call)(phone.account.user)
    assert stage.events(user=phone.account.user, type=BROKEN)[-1]["keyset"] == phone.account.keyset
    if call == "block":
        with pytest.raises(BankRefused, match="integrity_failure"):
            stage.bank.unblock(phone.account.user)
    _expect_refused(stage, phone)


def _forged(victim: str, mallory: Phone, transaction: Json) -> Signed:
    """The victim's approval, as Mallory's phone would have to sign it."""
    return Signed(
        operation=Operation.APPROVE,
        application=mallory.account.application,
        user=victim,
        media_type=transaction["media_type"],
        content_digest=unb64(transaction["content_sha256"]),
        fingerprint=mallory.account.fingerprint,
        step=mallory.step(),
        transaction=transaction["id"],
        title=transaction["title"],
    )


def test_another_users_keys_do_not_verify_for_the_victim(stage: Stage) -> None:
    victim, mallory = stage.phone(), stage.phone()
    transaction = stage.bank.create_transaction(victim.account.user, text="Pay everything to Mallory")
    message = _forged(victim.account.user, mallory, transaction)
    code = mac(mallory.keys.khmac, message.encode())
    signature = sign(mallory.private_key, message.encode())
    _write(
        stage,
        sa.insert(attempts).values(
            id=f"att_{secrets.token_hex(16)}",
            transaction_id=transaction["id"],
            keyset_id=mallory.account.keyset,
            device_id=None,
            operation="approve",
            channel="online",
            step=message.step,
            code=code,
            signature=signature,
            verified=["step", "code", "signature"],
            outcome="accepted",
            device={},
            receipt=None,
            created_at=datetime.now(UTC),
        ),
    )
    with pytest.raises(BankRefused) as refused:
        stage.bank.verify(transaction["id"], step=message.step, code=b64(code), signature=b64(signature))
    assert refused.value.code == "integrity_failure"


def test_a_policy_out_of_its_bounds_decides_nothing(probe: Probe) -> None:
    stage = probe.stage
    chosen = applications.c.id == stage.keys["application"]
    with stage.database() as connection:
        before = connection.execute(sa.select(applications.c.policy).where(chosen)).scalar_one()
    assert isinstance(before, dict)
    _write(stage, sa.update(applications).where(chosen).values(policy=before | {"failures_most": 10**6}))
    answer = probe.approve(probe.body())
    assert answer.status >= 400
    _write(stage, sa.update(applications).where(chosen).values(policy=before))
    probe.still_works()


def test_the_database_holds_no_key_no_code_and_no_api_key(stage: Stage) -> None:
    user = stage.user()
    issued = stage.bank.issue_keyset(user, "qr_and_code")
    code = stage.bank.activation_code(user, issued.id)
    phone = stage.personalise(issued.qr_text, activation_code=code)
    row = _row(stage, phone.account.keyset)
    text = repr(row)
    for secret in (phone.keys.khmac, phone.keys.kauth):
        forms = (secret, base64.b64encode(secret), secret.hex().encode())
        assert not any(form.decode("latin-1") in text or repr(form) in text for form in forms)
    assert code not in text
    with stage.database() as connection:
        kept = repr(connection.execute(sa.select(credentials)).all())
    assert stage.keys["api_key"].partition(".")[2] not in kept
