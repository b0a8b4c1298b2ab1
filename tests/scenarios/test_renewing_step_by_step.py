"""What holds for keys that a phone renews before it registered, and how are its wrong proofs counted there?"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.refusals import Refusal
from gateway.rules.policy import Policy
from gateway.store.tables import events, keysets
from hsm.device import Device
from tests.counterparts.phone import Phone
from tests.counterparts.phone_tlv import unb64
from tests.scenarios.bench import Bench, opened_bench, run
from tests.store.databases import migrated_database

WRONG = "A" * 43 + "="


@pytest.fixture(scope="module")
def wrap_key() -> rsa.RSAPrivateKey:
    """A key that a phone made for its new keys."""
    return rsa.generate_private_key(65537, 3072)


@pytest.fixture
def bench(tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """A bench whose phones may do without Kpublic."""
    policy = Policy(kpublic_required=False)
    with (
        migrated_database("sqlite", tmp_path) as database,
        opened_bench(database, own_device, policy) as made,
    ):
        yield made


def _renewed(bench: Bench, phone: Phone, wrap_key: rsa.RSAPrivateKey) -> Phone:
    """Return the phone with new keys, which are not registered."""
    answer = run(bench.ask(phone, "keys.renew", phone.renewal_body(wrap_key)))
    return Phone.enrol(unb64(answer["package"]), wrap_key=wrap_key, clock=bench.clock.now)


def _open_keysets(bench: Bench) -> list[str]:
    opened = sa.select(keysets.c.id).where(keysets.c.status.in_(("issued", "active")))
    return [row.id for row in bench.rows(opened)]


def test_renewed_keys_that_are_not_registered_may_do_nothing_else(bench: Bench, wrap_key: rsa.RSAPrivateKey):
    """Else whoever renewed the keys of a phone, once, would answer without its signature and on any device."""
    phone = run(bench.enrol("anna"))
    fresh = _renewed(bench, phone, wrap_key)
    object.__setattr__(fresh.account, "fingerprint", b"")  # that of keys that are not registered
    for action, body in (("transactions.pending", {}), ("keys.renew", fresh.renewal_body(wrap_key))):
        with pytest.raises(Refusal) as refused:
            run(bench.ask(fresh, action, body))
        assert refused.value.problem.code == "authentication_failed"
    assert run(bench.ask(phone, "transactions.pending", {}))["transactions"] == []
    assert len(_open_keysets(bench)) == 2


def test_keys_that_never_were_registered_are_renewed_and_end(bench: Bench, wrap_key: rsa.RSAPrivateKey):
    run(bench.create_user("anna"))
    phone = bench.phone(run(bench.issue("anna")))
    chosen = phone.account.fingerprint
    phone.account = replace(phone.account, fingerprint=b"")
    fresh = _renewed(bench, phone, wrap_key)
    fresh.account = replace(fresh.account, fingerprint=chosen)
    run(bench.register(fresh))
    assert _open_keysets(bench) == [fresh.account.keyset]


def test_no_phone_fills_the_token_with_new_keys(bench: Bench, wrap_key: rsa.RSAPrivateKey):
    phone = run(bench.enrol("anna"))
    for _ in range(10):
        before, phone = phone, _renewed(bench, phone, wrap_key)
        object.__setattr__(phone.account, "fingerprint", before.account.fingerprint)
        run(bench.register(phone))
    with pytest.raises(Refusal) as refused:
        _renewed(bench, phone, wrap_key)
    assert refused.value.problem.code == "too_many_renewals"
    bench.clock.move(days=1)
    _renewed(bench, phone, wrap_key)


@pytest.mark.parametrize("action", ["keys.register", "keys.renew"])
def test_the_last_failure_but_one_is_warned_of_whatever_was_asked(
    bench: Bench, wrap_key: rsa.RSAPrivateKey, action: str
):
    if action == "keys.renew":
        phone = run(bench.enrol("anna"))
        body = phone.renewal_body(wrap_key)
    else:
        run(bench.create_user("anna"))
        phone = bench.phone(run(bench.issue("anna")))
        body = phone.registration_body()
    for _ in range(5):
        with pytest.raises(Refusal):
            run(bench.ask(phone, action, {**body, "code": WRONG}))
    warned = bench.rows(
        sa.select(events.c.type).where(events.c.type.in_(("user.block_near", "user.blocked")))
    )
    assert sorted(row.type for row in warned) == ["user.block_near", "user.blocked"]
