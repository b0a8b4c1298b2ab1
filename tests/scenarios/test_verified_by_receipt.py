"""Is a past answer believed further than the receipt that the HSM signed for it?"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.refusals import Refusal
from gateway.rules.policy import from_json
from gateway.scenarios.authentications_verified import verify_authentication
from gateway.scenarios.offline import submit_code
from gateway.scenarios.questions import Question
from gateway.scenarios.verification import verify_signature
from gateway.store.tables import attempts
from hsm.device import Device
from tests.counterparts.phone import Phone
from tests.scenarios.authenticating import RULES, authenticate, body_of, kept, login_text
from tests.scenarios.bench import ORIGIN, Bench, opened_bench, run
from tests.store.databases import migrated_database

POLICY = from_json({"kpublic_required": False, "offline_allowed": True, "authentication_rules": RULES})


@pytest.fixture
def bench(tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """A bench whose phones may do without Kpublic, and without a network."""
    with (
        migrated_database("sqlite", tmp_path) as database,
        opened_bench(database, own_device, POLICY) as made,
    ):
        yield made


def _unregistered(bench: Bench) -> Phone:
    """Return a phone whose keys are not registered; messages of such a one have no fingerprint."""
    run(bench.create_user("anna"))
    phone = bench.phone(run(bench.issue("anna")))
    phone.account = replace(phone.account, fingerprint=b"")
    return phone


def _register(bench: Bench, phone: Phone) -> None:
    phone.account = replace(phone.account, fingerprint=bytes(range(32)))
    run(bench.register(phone))


def _rows(bench: Bench, transaction: str) -> list[Any]:
    return bench.rows(sa.select(attempts).where(attempts.c.transaction_id == transaction))


def _question(about: str, step: int, code: bytes | str) -> Question:
    return Question(
        about_id=about, operation="approve", content_sha256=None, step=step, code=code, signature=None
    )


def _verdict(bench: Bench, about: str, step: int, code: bytes | str) -> Any:
    return run(verify_signature(bench.ctx, bench.asker, _question(about, step, code), ORIGIN))


def test_nobody_who_writes_to_the_database_has_digits_of_an_open_transaction_tried_out(bench: Bench):
    phone = run(bench.enrol("anna"))
    told, asked = (run(bench.ask_to_confirm("anna", offline=True)) for _ in range(2))
    run(submit_code(bench.ctx, bench.asker, told, phone.short_code(run(bench.show(phone, told))), ORIGIN))
    right = phone.short_code(run(bench.show(phone, asked)))
    [row] = _rows(bench, told)
    assert _verdict(bench, told, row.step, row.code.decode())["valid"]
    for forged in ("NULL", "receipt"):  # without one, and with a genuine one of another answer
        columns = [column.name for column in attempts.c]
        values = {"id": f"'att_{forged}'", "transaction_id": f"'{asked}'", "receipt": forged}
        copied = ", ".join(values.get(name, name) for name in columns)
        bench.write(
            f"INSERT INTO attempts ({', '.join(columns)}) SELECT {copied} FROM attempts WHERE id = :id",  # noqa: S608
            id=row.id,
        )
        for code in (right, "00000000"):
            with pytest.raises(Refusal) as refused:
                _verdict(bench, asked, row.step, code)
            assert refused.value.problem.code == "integrity_failure"
        bench.write("DELETE FROM attempts WHERE transaction_id = :id", id=asked)


def test_a_late_answer_that_the_database_calls_accepted_is_not_valid(bench: Bench):
    phone = run(bench.enrol("anna"))
    name = run(bench.ask_to_confirm("anna"))
    shown = run(bench.show(phone, name))
    bench.clock.move(hours=1)
    with pytest.raises(Refusal):
        run(bench.approve(phone, shown))
    [row] = _rows(bench, name)
    assert _verdict(bench, name, row.step, row.code)["valid"] is False
    bench.write("UPDATE attempts SET outcome = 'accepted'")
    with pytest.raises(Refusal) as refused:
        _verdict(bench, name, row.step, row.code)
    assert refused.value.problem.code == "integrity_failure"


def test_an_answer_from_before_the_registration_verifies_after_it(bench: Bench):
    phone = _unregistered(bench)
    name = run(bench.ask_to_confirm("anna"))
    run(bench.approve(phone, run(bench.show(phone, name))))
    _register(bench, phone)
    [row] = _rows(bench, name)
    assert _verdict(bench, name, row.step, row.code)["valid"]
    assert not _verdict(bench, name, row.step, bytes(32))["valid"]


def test_an_authentication_from_before_the_registration_verifies_after_it(bench: Bench):
    phone = _unregistered(bench)
    run(authenticate(bench, phone, body_of(phone, login_text(bench, phone))))
    _register(bench, phone)
    [made] = kept(bench)
    question = _question(made.id, made.step, made.code)
    assert run(verify_authentication(bench.ctx, bench.asker, question, ORIGIN))["valid"]
