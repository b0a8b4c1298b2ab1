"""Do five failures in a row block the user, announced and told, and does nothing else count?"""

import threading
from collections.abc import Callable

import pytest

from tests.api.probe import APPROVE, Probe, problem
from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Shown
from tests.counterparts.phone_line import NotRecognised
from tests.counterparts.phone_tlv import b64
from tests.counterparts.phone_wire import Operation
from tests.journeys.stage import Stage

MOST = 5


@pytest.fixture
def phone(stage: Stage) -> Phone:
    """A phone of its own for each test: most of them end blocked."""
    return stage.phone()


def _fail(phone: Phone, shown: Shown, times: int = 1) -> None:
    for _ in range(times):
        body = phone.confirmation_body(shown, Operation.APPROVE) | {"code": b64(bytes(32))}
        assert problem(phone.request(APPROVE, body)) == (403, "proof_refused")


def test_five_failures_block_the_user_and_cancel_the_transaction(stage: Stage, phone: Phone) -> None:
    user, shown = phone.account.user, stage.ask(phone)
    _fail(phone, shown, MOST)
    view = stage.bank.user(user)
    assert (view["status"], view["reason"]) == ("blocked", "too_many_failures")
    settled = stage.bank.transaction(shown.transaction)
    assert (settled["status"], settled["reason"]) == ("cancelled", "too_many_failures")
    assert [attempt["outcome"] for attempt in settled["attempts"]] == ["refused"] * MOST
    with pytest.raises(NotRecognised):
        phone.approve(shown)
    [near] = stage.events(user=user, type="user.block_near")
    assert near["detail"] == {"failures": MOST - 1}
    [blocked] = stage.events(user=user, type="user.blocked")
    assert blocked["reason"] == "too_many_failures"
    told = stage.told(
        lambda body: (
            body["data"].get("user") == user
            or (
                isinstance(body["data"].get("transaction"), dict)
                and body["data"]["transaction"]["id"] == shown.transaction
            )
        ),
        count=3,
    )
    assert {each["type"] for each in told} == {"keys.registered", "transaction.cancelled", "user.blocked"}


def test_four_failures_and_a_right_answer_start_the_count_again(stage: Stage, phone: Phone) -> None:
    first, second = stage.ask(phone), stage.ask(phone)
    _fail(phone, first, MOST - 1)
    assert phone.approve(first)["status"] == "confirmed"
    _fail(phone, second, MOST - 1)
    assert stage.bank.user(phone.account.user)["failures"] == MOST - 1
    assert phone.decline(second)["status"] == "declined"


def test_failures_at_several_transactions_block_the_user_and_leave_them_pending(
    stage: Stage, phone: Phone
) -> None:
    shown = [stage.ask(phone) for _ in range(MOST)]
    for each in shown:
        _fail(phone, each)
    assert stage.bank.user(phone.account.user)["status"] == "blocked"
    stage.bank.unblock(phone.account.user)
    assert stage.bank.user(phone.account.user)["failures"] == 0
    assert [phone.approve(each)["status"] for each in shown] == ["confirmed"] * MOST


def test_unblocking_does_not_revive_the_cancelled_transaction(stage: Stage, phone: Phone) -> None:
    shown = stage.ask(phone)
    _fail(phone, shown, MOST)
    stage.bank.unblock(phone.account.user)
    body = phone.confirmation_body(shown, Operation.APPROVE)
    assert problem(phone.request(APPROVE, body)) == (409, "transaction_settled")
    assert phone.approve(stage.ask(phone))["status"] == "confirmed"


def test_failures_survive_a_right_answer_to_nothing(stage: Stage, phone: Phone) -> None:
    shown = stage.ask(phone)
    _fail(phone, shown, MOST - 1)
    phone.pending()
    phone.update_push(None)
    _fail(phone, shown)
    assert stage.bank.user(phone.account.user)["status"] == "blocked"


def test_wrong_authentication_codes_never_count(stage: Stage, phone: Phone) -> None:
    shown = stage.ask(phone)
    for _ in range(3 * MOST):
        raw = phone.envelope(APPROVE, phone.confirmation_body(shown, Operation.APPROVE))
        assert phone.send(APPROVE, raw, authcode=bytes(32)).status == 401
    assert stage.bank.user(phone.account.user)["failures"] == 0
    assert phone.approve(shown)["status"] == "confirmed"


def test_requests_that_cannot_be_read_never_count(stage: Stage, phone: Phone) -> None:
    shown = stage.ask(phone)
    for _ in range(2 * MOST):
        body = phone.confirmation_body(shown, Operation.APPROVE) | {"code": "short"}
        assert phone.request(APPROVE, body).status == 400
    assert phone.approve(shown)["status"] == "confirmed"


def test_wrong_registrations_block_the_user(stage: Stage) -> None:
    phone = stage.enrol(stage.user())
    for wrong in ({"code": b64(bytes(32))}, {"fingerprint": b64(bytes(32))}) * MOST:
        answer = phone.request("keys.register", phone.registration_body() | wrong)
        assert answer.status in (401, 403)
    assert stage.bank.user(phone.account.user)["status"] == "blocked"
    with pytest.raises(NotRecognised):
        phone.register()


def _at_once(attacks: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=attack) for attack in attacks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_many_wrong_answers_at_once_get_no_more_than_five_tries(stage: Stage, phone: Phone) -> None:
    shown, statuses = stage.ask(phone), list[int]()
    twin = stage.through_twin(phone)

    def attack(line: Phone) -> Callable[[], None]:
        def send() -> None:
            body = phone.confirmation_body(shown, Operation.APPROVE) | {"code": b64(bytes(32))}
            statuses.append(line.request(APPROVE, body).status)

        return send

    _at_once([attack(line) for line in (phone, twin) for _ in range(7)])
    assert statuses.count(403) == MOST
    assert statuses.count(401) == len(statuses) - MOST
    settled = stage.bank.transaction(shown.transaction)
    assert len(settled["attempts"]) == MOST
    assert settled["status"] == "cancelled"
    assert stage.bank.user(phone.account.user)["status"] == "blocked"


def test_a_policy_may_block_earlier(stage: Stage) -> None:
    bank = stage.bank_with(failures_most=2)
    phone = stage.phone(stage.user(bank), bank)
    _fail(phone, stage.ask(phone, bank=bank), 2)
    assert bank.user(phone.account.user)["status"] == "blocked"


def test_another_users_failures_are_no_concern(stage: Stage, phone: Phone) -> None:
    probe = Probe(stage, phone, stage.ask(phone))
    other = stage.phone()
    _fail(other, stage.ask(other), MOST)
    probe.still_works()
