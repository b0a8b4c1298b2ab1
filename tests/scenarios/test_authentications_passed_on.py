"""Does what a phone gave its application authenticate: full proofs or typed digits, once, and verified long after?"""

import asyncio
import base64
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.refusals import Refusal
from gateway.rules.user import UserAction
from gateway.scenarios.authentications_passed_on import (
    PassedOn,
    Typed,
    fetch_authentication,
    list_authentications,
    pass_on,
)
from gateway.scenarios.authentications_verified import verify_authentication
from gateway.scenarios.questions import Question
from gateway.store import applications
from gateway.wire.bodies import Proofs
from gateway.wire.errors import WireError
from hsm.device import Device
from tests.counterparts.phone_package import Package, Policy
from tests.counterparts.phone_tlv import unb64
from tests.scenarios.authenticating import (
    TEXT,
    WRONG,
    authenticate,
    bench_with_rules,
    body_of,
    door_digits,
    door_text,
    events_of,
    kept,
    login_text,
)
from tests.scenarios.bench import ORIGIN, Bench, run
from tests.store.databases import KINDS


@pytest.fixture
def bench(tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """A bench with rules, on SQLite."""
    with bench_with_rules("sqlite", tmp_path, own_device) as made:
        yield made


@pytest.fixture(params=KINDS)
def any_bench(request: pytest.FixtureRequest, tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """The same on each kind of database, for what is decided by the database."""
    with bench_with_rules(request.param, tmp_path, own_device) as made:
        yield made


def _given(body: dict[str, Any], **changed: Any) -> PassedOn:
    shown = Proofs.read({name: (body | changed)[name] for name in ("step", "code", "signature")})
    return PassedOn(media_type=TEXT, content=base64.b64decode(body["content"]), shown=shown)


async def _pass(bench: Bench, given: PassedOn | Typed) -> dict[str, Any]:
    return await pass_on(bench.ctx, bench.asker, "anna", given, ORIGIN)


def _refused(bench: Bench, given: PassedOn | Typed, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        run(_pass(bench, given))
    assert refused.value.problem.code == code


def test_full_proofs_that_the_application_passes_on_authenticate_once(bench: Bench):
    phone = run(bench.enrol("anna"))
    given = _given(body_of(phone, login_text(bench, phone)))
    made = run(_pass(bench, given))
    assert (made["user"], made["rule"], made["channel"]) == ("anna", "login", "passed_on")
    assert (made["keyset"], made["verified"]) == (phone.account.keyset, ["step", "code", "signature"])
    _refused(bench, given, "already_used")
    assert run(fetch_authentication(bench.ctx, bench.asker, made["id"])) == made
    assert run(list_authentications(bench.ctx, bench.asker, "anna", after=None, limit=9)) == [made]
    assert [len(events_of(bench, f"authentication.{each}")) for each in ("confirmed", "repeated")] == [1, 1]


def test_what_the_phone_sent_itself_cannot_be_passed_on_as_well(bench: Bench):
    phone = run(bench.enrol("anna"))
    body = body_of(phone, login_text(bench, phone))
    run(authenticate(bench, phone, body))
    _refused(bench, _given(body), "already_used")


def test_of_phone_and_application_that_present_one_message_at_once_one_wins(any_bench: Bench):
    bench = any_bench
    phone = run(bench.enrol("anna"))
    body = body_of(phone, login_text(bench, phone))

    async def present() -> list[Any]:
        passed = [_pass(bench, _given(body)) for _ in range(4)]
        return await asyncio.gather(*passed, authenticate(bench, phone, body), return_exceptions=True)

    ended = run(present())
    assert all(isinstance(each, dict) or each.problem.code == "already_used" for each in ended)
    assert len([each for each in ended[:4] if isinstance(each, dict)]) <= 1
    assert len(kept(bench)) == len(events_of(bench, "authentication.confirmed")) == 1


def test_typed_digits_authenticate_under_a_rule_that_both_sides_know_beforehand_and_once(bench: Bench):
    phone = run(bench.enrol("anna"))
    digits = door_digits(phone)
    made = run(_pass(bench, Typed(rule="door", digits=digits)))
    assert (made["channel"], made["code"], made["signature"]) == ("offline", digits, None)
    assert (
        made["content_sha256"] == base64.b64encode(hashlib.sha256(door_text(phone.step())).digest()).decode()
    )
    _refused(bench, Typed(rule="door", digits=digits), "already_used")
    _refused(bench, Typed(rule="login", digits=digits), "not_allowed_by_policy")
    _refused(bench, Typed(rule="none", digits=digits), "not_allowed_by_policy")
    with pytest.raises(WireError, match="digits"):
        run(_pass(bench, Typed(rule="door", digits=digits[:7])))
    assert bench.failures("anna") == 0


def test_wrong_digits_count_and_block_also_when_they_come_at_once(any_bench: Bench):
    bench = any_bench
    phone = run(bench.enrol("anna"))
    wrong = str(int(door_digits(phone)) ^ 1).zfill(8)

    async def guess() -> list[Any]:
        guesses = [_pass(bench, Typed(rule="door", digits=wrong)) for _ in range(8)]
        return await asyncio.gather(*guesses, return_exceptions=True)

    codes = [each.problem.code for each in run(guess())]
    assert (codes.count("proof_refused"), codes.count("user_blocked")) == (5, 3)
    _refused(bench, Typed(rule="door", digits=door_digits(phone)), "user_blocked")


def test_digits_that_served_do_not_start_the_count_anew(bench: Bench):
    phone = run(bench.enrol("anna"))
    seen = Typed(rule="door", digits=door_digits(phone))
    run(_pass(bench, seen))
    for _ in range(3):
        _refused(bench, Typed(rule="door", digits=str(int(seen.digits) ^ 1).zfill(8)), "proof_refused")
    _refused(bench, seen, "already_used")
    assert bench.failures("anna") == 3


def test_a_wrong_full_code_is_refused_and_no_guess(bench: Bench):
    phone = run(bench.enrol("anna"))
    body = body_of(phone, login_text(bench, phone))
    _refused(bench, _given(body, code=WRONG), "proof_refused")
    _refused(bench, _given(body_of(phone, login_text(bench, phone, -999))), "proof_refused")
    _refused(bench, _given(body_of(phone, b"Pay 10 EUR")), "not_allowed_by_policy")
    assert bench.failures("anna") == 0
    assert kept(bench) == []


def _ask(bench: Bench, made: dict[str, Any], **changed: Any) -> dict[str, Any]:
    code = base64.b64decode(made["code"]) if len(made["code"]) > 10 else made["code"]
    signature = None if made["signature"] is None else base64.b64decode(made["signature"])
    values: dict[str, Any] = {
        "about_id": made["id"], "operation": "approve", "content_sha256": None, "step": made["step"],
        "code": code, "signature": signature,
    }  # fmt: skip
    question = Question(**(values | changed))
    return run(verify_authentication(bench.ctx, bench.asker, question, ORIGIN))


def test_a_past_authentication_is_verified_whatever_became_of_the_user(any_bench: Bench):
    bench = any_bench
    phone = run(bench.enrol("anna"))
    content = login_text(bench, phone)
    made = run(_pass(bench, _given(body_of(phone, content))))
    typed = run(_pass(bench, Typed(rule="door", digits=door_digits(phone))))
    bench.clock.move(minutes=1)
    run(bench.change("anna", UserAction.DELETE))
    bench.clock.move(days=700)
    digest = hashlib.sha256(content).digest()
    verdict = _ask(bench, made, content_sha256=digest)
    assert (verdict["valid"], verdict["checks"]) == (True, {"code": True, "signature": True})
    assert (verdict["operation"], verdict["user_status"]) == ("authenticate", "deleted")
    assert (verdict["keyset_status_then"], verdict["keyset_status_now"]) == ("active", "deleted")
    assert _ask(bench, typed)["valid"]
    for wrong in (
        {"content_sha256": bytes(32)}, {"step": made["step"] + 1}, {"code": bytes(32)}, {"code": "12345678"},
    ):  # fmt: skip
        assert not _ask(bench, made, **wrong)["valid"], wrong
    assert _ask(bench, made, code=None)["missing"] == ["code"]


@pytest.mark.parametrize(
    "change",
    [
        "step = step + 1",
        "content_sha256 = message_sha256",
        "receipt = 'a.b.c'",
        "media_type = 'text/x'",
        "id = 'aut_1'",
        "created_at = '2029-01-01 00:00:00.000000'",
        "signature = code",
        "signature = NULL",
        "channel = 'online'",
        "channel = 'offline'",
        "rule = 'door'",
        "code = x'ff'",
    ],
)
def test_a_row_that_is_not_what_its_receipt_says_verifies_nothing(bench: Bench, change: str):
    phone = run(bench.enrol("anna"))
    made = run(_pass(bench, _given(body_of(phone, login_text(bench, phone)))))
    bench.write(f"UPDATE authentications SET {change}")  # noqa: S608 - the changes above
    about = "aut_1" if change.startswith("id") else made["id"]
    with pytest.raises(Refusal, match="integrity_failure"):
        _ask(bench, made, about_id=about)


@pytest.mark.parametrize("change", ["channel = 'offline'", "channel = 'offline', code = x'ff'"])
def test_a_code_under_another_channel_is_shown_nevertheless(bench: Bench, change: str):
    phone = run(bench.enrol("anna"))
    made = run(_pass(bench, _given(body_of(phone, login_text(bench, phone)))))
    bench.write(f"UPDATE authentications SET {change}")  # noqa: S608 - the changes above
    shown = run(fetch_authentication(bench.ctx, bench.asker, made["id"]))
    assert shown["code"] == (made["code"] if "code" not in change else "/w==")
    assert run(list_authentications(bench.ctx, bench.asker, "anna", after=None, limit=9)) == [shown]


def test_a_phone_is_told_as_many_digits_as_its_keyset_has_whatever_the_policy_says_later(bench: Bench):
    phone = run(bench.enrol("anna"))
    fewer = replace(bench.asker.application.policy, digits=6)
    run(bench.ctx.unit(applications.replace_policy, bench.asker.application.id, fewer, bench.clock.now()))
    bench.asker = bench.present()
    lists = run(bench.ask(phone, "transactions.pending", {}))
    registered = run(bench.ask(phone, "keys.register", phone.registration_body()))
    assert [Policy.decode(unb64(each["policy"])).digits for each in (lists, registered)] == [8, 8]
    assert run(_pass(bench, Typed(rule="door", digits=door_digits(phone))))["user"] == "anna"
    assert Package.decode(run(bench.issue("anna")).package.encode()).policy.digits == 6
