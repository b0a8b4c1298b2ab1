"""With what is an answer compared: with approvals, along renewed keys, and never with what a thief can teach."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.refusals import Refusal
from gateway.rules.policy import from_json
from gateway.store.tables import attempts
from hsm.device import Device
from tests.counterparts.phone import Phone
from tests.scenarios.authenticating import RULES, authenticate, bench_with_rules, body_of, kept, login_text
from tests.scenarios.bench import Bench, run
from tests.scenarios.scored_phones import PHONE, WANTED, approved, ask, enrol, factors, scored_bench
from tests.store.databases import KINDS

THIEF = PHONE | {"model": "Pixel 3"}


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest, tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """A bench that scores and refuses nothing, on each kind of database."""
    scoring = {"many_answers": 2, "many_minutes": 60}
    with scored_bench(request.param, tmp_path, own_device, scoring) as made:
        yield made


@pytest.fixture(scope="module")
def wrap_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 3072)


def _declined(bench: Bench, phone: Phone) -> None:
    shown = ask(bench, phone)
    run(bench.ask(phone, "transactions.decline", phone.confirmation_body(shown, 2)))


def _moved_away(bench: Bench) -> None:
    """Say of all answers so far that they came from another network."""
    with bench.ctx.database.engine.begin() as connection:
        for row in connection.execute(sa.select(attempts.c.id, attempts.c.scoring)).all():
            scoring = row.scoring | {"address": "192.0.2.1"}
            connection.execute(sa.update(attempts).where(attempts.c.id == row.id).values(scoring=scoring))


def _renewed(bench: Bench, phone: Phone, wrap_key: rsa.RSAPrivateKey, device: dict[str, str]) -> Phone:
    phone.device = dict(device)
    answer = run(bench.ask(phone, "keys.renew", phone.renewal_body(wrap_key)))
    renewed = Phone.enrol(answer["package"], wrap_key=wrap_key, clock=bench.clock.now)
    object.__setattr__(renewed.account, "fingerprint", phone.account.fingerprint)
    renewed.device = dict(device)
    run(bench.register(renewed))
    return renewed


def test_a_decline_teaches_the_score_neither_phone_nor_network_and_counts_among_many(bench: Bench):
    phone = enrol(bench)
    approved(bench, phone)
    _moved_away(bench)
    phone.device = dict(THIEF)
    _declined(bench, phone)
    assert factors(approved(bench, phone)) == ["model_changed", "address_changed", "many_answers"]


def test_declines_without_any_approval_leave_the_registration_to_compare_with(bench: Bench):
    phone = enrol(bench)
    phone.device = dict(THIEF)
    _declined(bench, phone)
    assert factors(approved(bench, phone)) == ["model_changed"]


def test_as_many_declines_as_are_looked_at_do_not_push_out_the_approvals(tmp_path: Path, own_device: Device):
    with scored_bench("sqlite", tmp_path, own_device, {}) as bench:
        phone = enrol(bench)
        phone.device = PHONE | {"model": "Pixel 10"}
        approved(bench, phone)
        phone.device = dict(PHONE)  # as at the registration, and not as at the last approval
        for _ in range(20):
            _declined(bench, phone)
        bench.clock.move(hours=1)
        assert factors(approved(bench, phone)) == ["model_changed"]


def test_renewed_keys_are_compared_with_the_answers_of_the_keys_before(
    bench: Bench, wrap_key: rsa.RSAPrivateKey
):
    phone = enrol(bench)
    approved(bench, phone)
    approved(bench, phone)
    _moved_away(bench)
    stolen = _renewed(bench, _renewed(bench, phone, wrap_key, THIEF), wrap_key, THIEF)
    found = factors(approved(bench, stolen))
    assert found == ["model_changed", "address_changed", "new_device", "many_answers"]
    bench.clock.move(days=2)
    assert factors(approved(bench, stolen)) == []


def test_renewed_keys_without_answers_are_compared_with_the_first_registration(
    bench: Bench, wrap_key: rsa.RSAPrivateKey
):
    phone = enrol(bench)
    stolen = _renewed(bench, _renewed(bench, phone, wrap_key, THIEF), wrap_key, THIEF)
    bench.clock.move(days=2)
    assert factors(approved(bench, stolen)) == ["model_changed"]


def test_an_honest_renewal_speaks_against_an_answer_only_as_young_keys(
    bench: Bench, wrap_key: rsa.RSAPrivateKey
):
    phone = enrol(bench)
    approved(bench, phone)
    renewed = _renewed(bench, phone, wrap_key, PHONE)
    assert factors(approved(bench, renewed)) == ["new_device"]


def test_a_thief_who_declines_first_is_still_refused(tmp_path: Path, own_device: Device):
    with scored_bench("sqlite", tmp_path, own_device, {"refuse_above": "low"}) as bench:
        phone = enrol(bench)
        phone.device = dict(THIEF)
        _declined(bench, phone)
        with pytest.raises(Refusal, match="score_too_high"):
            run(bench.approve(phone, ask(bench, phone)))


def test_authentications_by_the_phones_own_content_count_among_many_answers(
    tmp_path: Path, own_device: Device
):
    scoring = {"many_answers": 2, "many_minutes": 60}
    policy = from_json({**WANTED, "authentication_rules": RULES, "scoring": scoring})
    with bench_with_rules("sqlite", tmp_path, own_device, policy) as bench:
        phone = enrol(bench)
        for _ in range(3):
            bench.clock.move(seconds=1)
            run(authenticate(bench, phone, body_of(phone, login_text(bench, phone))))
        assert [factors(each.scoring) for each in kept(bench)] == [[], [], ["many_answers"]]
        assert factors(approved(bench, phone)) == ["many_answers"]
