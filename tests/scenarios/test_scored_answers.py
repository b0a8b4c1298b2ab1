"""What becomes of an answer that is scored: what is kept and told of it, what is refused, and what costs nothing."""

import base64
import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.refusals import Refusal
from gateway.rules.policy import from_json
from gateway.rules.scoring_policy import ScoringSetting
from gateway.scenarios import vouching
from gateway.scenarios.authentications_passed_on import Typed, pass_on
from gateway.scenarios.offline import submit_code
from gateway.scenarios.transactions import fetch_transaction
from gateway.store.deliveries import Delivery
from gateway.store.tables import attempts, deliveries, events
from hsm.device import Device
from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Shown
from tests.scenarios.authenticating import (
    RULES,
    WRONG,
    authenticate,
    bench_with_rules,
    body_of,
    door_digits,
    expect_refused,
    kept,
    login_text,
)
from tests.scenarios.bench import ORIGIN, Bench, run
from tests.scenarios.scored_phones import PHONE, WANTED, Json, approved, ask, enrol, factors, scored_bench
from tests.store.databases import KINDS


@pytest.fixture
def bench(tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """A bench that scores and refuses nothing."""
    with scored_bench("sqlite", tmp_path, own_device, {}) as made:
        yield made


@pytest.fixture(params=KINDS)
def strict_bench(request: pytest.FixtureRequest, tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """A bench that refuses above medium, on each kind of database."""
    with scored_bench(request.param, tmp_path, own_device, {"refuse_above": "medium"}) as made:
        yield made


def _last_callback(bench: Bench) -> Json:
    rows = bench.rows(sa.select(deliveries.c.body).order_by(deliveries.c.id.desc()).limit(1))
    return dict(json.loads(rows[0].body))


def _claims(receipt: str) -> Json:
    part = receipt.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def _refused(bench: Bench, phone: Phone, shown: Shown, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        run(bench.approve(phone, shown))
    assert refused.value.problem.code == code


def test_a_plain_answer_scores_nothing_and_the_score_is_kept_told_and_signed(bench: Bench):
    phone = enrol(bench)
    scoring = approved(bench, phone)
    assert scoring == {"value": 0, "level": "low", "factors": [], "address": "127.0.0.1"}
    told = _last_callback(bench)["data"]
    assert told["confirmation"]["scoring"] == scoring
    assert _claims(told["receipt"])["scoring"] == {"value": 0, "level": "low"}


def test_what_changed_since_the_registration_and_the_last_answer_speaks_against_one(bench: Bench):
    phone = enrol(bench)
    phone.device = PHONE | {"model": "Pixel 3"}
    assert factors(approved(bench, phone)) == ["model_changed"]
    assert factors(approved(bench, phone)) == []
    phone.device = {"uv": "password", "model": "Pixel 3", "rooted": True}
    assert factors(approved(bench, phone, seconds=1)) == [
        "device_data_missing",
        "os_changed",
        "rooted",
        "quick",
    ]


def test_another_network_than_before_speaks_against_an_answer_once(bench: Bench):
    phone = enrol(bench)
    assert factors(approved(bench, phone)) == []
    bench.write("UPDATE attempts SET scoring = replace(scoring, '127.0.0.1', '192.0.2.1')")
    assert factors(approved(bench, phone)) == ["address_changed"]
    assert factors(approved(bench, phone)) == []


def test_failures_before_and_a_new_phone_speak_against_an_answer(bench: Bench):
    run(bench.create_user("anna"))
    phone = bench.phone(run(bench.issue("anna")))
    phone.device = dict(PHONE)
    run(bench.register(phone))
    shown = ask(bench, phone)
    for _ in range(2):
        with pytest.raises(Refusal, match="proof_refused"):
            run(bench.approve_wrongly(phone, shown))
    run(bench.approve(phone, shown))
    (row,) = bench.rows(sa.select(attempts.c.scoring).where(attempts.c.outcome == "accepted"))
    assert [(each["factor"], each["points"]) for each in row.scoring["factors"]] == [
        ("new_device", 150), ("failures", 200),
    ]  # fmt: skip


def test_an_approval_above_the_limit_is_refused_and_the_application_learns_why(strict_bench: Bench):
    bench, phone = strict_bench, enrol(strict_bench)
    shown = ask(bench, phone)
    phone.device = PHONE | {"model": "x", "rooted": True}
    _refused(bench, phone, shown, "score_too_high")
    view = run(fetch_transaction(bench.ctx, bench.asker, shown.transaction))
    assert (view["status"], view["reason"], view["confirmation"]) == ("cancelled", "score_too_high", None)
    (attempt,) = view["attempts"]
    assert (attempt["outcome"], attempt["scoring"]["value"], attempt["scoring"]["level"]) == (
        "refused",
        700,
        "high",
    )
    told = _last_callback(bench)
    assert (told["type"], told["data"]["scoring"]) == ("transaction.cancelled", attempt["scoring"])
    (event,) = bench.rows(sa.select(events).where(events.c.type == "answer.score_too_high"))
    assert (event.transaction_id, event.reason) == (
        shown.transaction,
        "score 700 is high: model_changed, rooted",
    )
    assert bench.failures("anna") == 0
    _refused(bench, phone, shown, "transaction_settled")
    assert len(bench.rows("SELECT * FROM contents")) == 0


def test_a_wrong_answer_is_wrong_first_and_a_decline_is_never_refused_by_its_score(strict_bench: Bench):
    bench, phone = strict_bench, enrol(strict_bench)
    shown = ask(bench, phone)
    phone.device = PHONE | {"model": "x", "rooted": True}
    with pytest.raises(Refusal, match="proof_refused"):
        run(bench.approve_wrongly(phone, shown))
    run(bench.ask(phone, "transactions.decline", phone.confirmation_body(shown, 2)))
    view = run(fetch_transaction(bench.ctx, bench.asker, shown.transaction))
    assert (view["status"], view["confirmation"]["scoring"]["level"]) == ("declined", "high")


def test_a_transaction_may_be_stricter_than_its_policy(bench: Bench):
    phone = enrol(bench)
    shown = ask(bench, phone, scoring=ScoringSetting.REFUSE_ABOVE_LOW)
    phone.device = PHONE | {"model": "x"}
    _refused(bench, phone, shown, "score_too_high")
    assert _last_callback(bench)["data"]["transaction"]["scoring"] == "refuse_above_low"
    shown = ask(bench, phone, scoring=ScoringSetting.OFF)
    run(bench.approve(phone, shown))
    (row,) = bench.rows(sa.select(attempts.c.scoring).where(attempts.c.outcome == "accepted"))
    assert row.scoring is None


def test_a_transaction_asks_for_no_scoring_that_the_policy_does_not_have(tmp_path: Path, own_device: Device):
    with scored_bench("sqlite", tmp_path, own_device, None) as bench:
        enrol(bench)
        with pytest.raises(Refusal, match="not_allowed_by_policy"):
            run(bench.ask_to_confirm("anna", scoring=ScoringSetting.REFUSE_ABOVE_LOW))


def test_whoever_loosens_the_setting_in_the_database_makes_the_transaction_unanswerable(bench: Bench):
    phone = enrol(bench)
    shown = ask(bench, phone, scoring=ScoringSetting.REFUSE_ABOVE_LOW)
    bench.write("UPDATE transactions SET scoring = 'off'")
    _refused(bench, phone, shown, "integrity_failure")


def test_digits_are_scored_too(strict_bench: Bench):
    bench, phone = strict_bench, enrol(strict_bench)
    shown = ask(bench, phone, offline=True)
    code = phone.short_code(shown)
    view = run(submit_code(bench.ctx, bench.asker, shown.transaction, code, ORIGIN))
    assert (factors(view["confirmation"]["scoring"]), view["confirmation"]["scoring"]["address"]) == (
        ["offline"],
        None,
    )
    assert _claims(view["receipt"])["scoring"] == {"value": 200, "level": "low"}
    shown = ask(bench, phone, offline=True, scoring=ScoringSetting.REFUSE_ABOVE_LOW)
    for _ in range(2):
        with pytest.raises(Refusal, match="proof_refused"):
            run(submit_code(bench.ctx, bench.asker, shown.transaction, "00000000", ORIGIN))
    with pytest.raises(Refusal, match="score_too_high"):
        run(submit_code(bench.ctx, bench.asker, shown.transaction, phone.short_code(shown), ORIGIN))
    view = run(fetch_transaction(bench.ctx, bench.asker, shown.transaction))
    assert (view["status"], view["reason"]) == ("cancelled", "score_too_high")


def test_without_scoring_in_the_policy_an_answer_asks_the_database_for_nothing_more(
    tmp_path: Path, own_device: Device
):
    asked: list[str] = []
    with scored_bench("sqlite", tmp_path, own_device, None) as bench:
        phone = enrol(bench)
        shown = ask(bench, phone)
        sa.event.listen(
            bench.ctx.database.engine, "before_cursor_execute", lambda *said: asked.append(said[2])
        )
        run(bench.approve(phone, shown))
        (row,) = bench.rows(sa.select(attempts.c.scoring))
        assert row.scoring is None
    assert [
        each for each in asked if "attempts.scoring" in each and "outcome" in each and "LIMIT" in each
    ] == []


def test_an_authentication_by_the_phones_own_content_is_scored_and_refused_alike(
    tmp_path: Path, own_device: Device
):
    policy = from_json({**WANTED, "authentication_rules": RULES, "scoring": {"refuse_above": "low"}})
    with bench_with_rules("sqlite", tmp_path, own_device, policy) as bench:
        phone = enrol(bench)
        body = body_of(phone, login_text(bench, phone))
        first = run(authenticate(bench, phone, body))
        told = _last_callback(bench)["data"]
        assert told["authentication"]["scoring"]["value"] == 0
        assert _claims(told["receipt"])["scoring"] == {"value": 0, "level": "low"}
        bench.clock.move(seconds=1)  # callbacks are ordered by their time
        phone.device = PHONE | {"rooted": True}
        assert run(authenticate(bench, phone, body)) == first
        expect_refused(bench, phone, body_of(phone, login_text(bench, phone)), "score_too_high")
        told = _last_callback(bench)
        assert (told["type"], told["data"]["scoring"]["level"]) == ("authentication.refused", "medium")
        assert "code" not in told["data"]
        assert (len(kept(bench)), bench.failures("anna")) == (1, 0)
        wrong = body_of(phone, login_text(bench, phone), code=WRONG)
        expect_refused(bench, phone, wrong, "proof_refused")
        expect_refused(bench, phone, wrong, "proof_refused")
        bench.clock.move(seconds=1)
        given = Typed(rule="door", digits=door_digits(phone))
        with pytest.raises(Refusal, match="score_too_high"):
            run(pass_on(bench.ctx, bench.asker, "anna", given, ORIGIN))
        assert _last_callback(bench)["data"]["channel"] == "offline"


@pytest.mark.parametrize("told", [None, {"value": 0, "level": "low"}, {"value": 300, "level": "low"}])
def test_a_callback_that_tells_another_score_than_the_receipt_is_not_sealed(bench: Bench, told: Json | None):
    phone = enrol(bench)
    phone.device = PHONE | {"model": "x"}
    approved(bench, phone)
    (row,) = [each for each in bench.rows(sa.select(deliveries)) if each.type == "transaction.confirmed"]
    kept = Delivery(**{each.name: getattr(row, each.name) for each in fields(Delivery)})
    vouching.require_genuine(bench.ctx, kept)
    body = json.loads(row.body)
    body["data"]["confirmation"]["scoring"] = told
    with pytest.raises(vouching.Forged, match="another scoring"):
        vouching.require_genuine(bench.ctx, replace(kept, body=vouching.as_text(body)))
