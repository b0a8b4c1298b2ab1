"""When several things happen to one record at once, in one process or two: does one win, and is each recorded?"""

import threading
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.api.probe import APPROVE, Probe
from tests.counterparts.bank import BankRefused
from tests.counterparts.phone import Phone
from tests.counterparts.phone_wire import Operation
from tests.journeys.stage import Stage

DECLINE = "transactions.decline"
ROUNDS = 3


def _at_once(attacks: Sequence[Callable[[], object]]) -> list[object]:
    """Run them at the same moment and return what each gave, or the exception it raised."""
    ready, results = threading.Barrier(len(attacks)), list[object]([None] * len(attacks))

    def run(number: int) -> None:
        ready.wait()
        try:
            results[number] = attacks[number]()
        except Exception as error:  # noqa: BLE001  # the test looks at it
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(attacks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _answering(phone: Phone, probe: Probe, action: str) -> Callable[[], int]:
    operation = Operation.APPROVE if action == APPROVE else Operation.DECLINE
    raw = phone.envelope(action, phone.confirmation_body(probe.shown, operation))
    return _sending(phone, action, raw)


def _sending(phone: Phone, action: str, raw: bytes) -> Callable[[], int]:
    return lambda: phone.send(action, raw).status


def _settlements(probe: Probe) -> list[str]:
    settled = probe.stage.events(transaction=probe.shown.transaction, type="transaction.settled")
    return [event["result"] for event in settled]


@pytest.fixture
def twin(stage: Stage, phone: Phone) -> Phone:
    """The module's phone at the second process."""
    return stage.through_twin(phone)


def test_the_same_bytes_racing_against_each_other_are_accepted_once(probe: Probe, twin: Phone) -> None:
    raw = probe.phone.envelope(APPROVE, probe.body())
    lines = [probe.phone, twin, probe.stage.through_twin(probe.phone)]
    statuses = _at_once([_sending(line, APPROVE, raw) for line in lines * 2])
    assert sorted(map(str, statuses)) == ["200"] + ["401"] * 5
    assert probe.attempts() == [("accepted", ["step", "code", "signature"])]


def test_two_approvals_at_two_processes_settle_once_and_both_get_the_outcome(
    probe: Probe, twin: Phone
) -> None:
    statuses = _at_once([_answering(probe.phone, probe, APPROVE), _answering(twin, probe, APPROVE)])
    assert statuses == [200, 200]
    assert [outcome for outcome, _ in probe.attempts()] == ["accepted"]
    assert _settlements(probe) == ["confirmed"]
    late = probe.stage.events(transaction=probe.shown.transaction, type="transaction.late_answer")
    assert [event["result"] for event in late] == ["repeated"]


def test_an_approval_and_a_decline_at_two_processes_one_wins_and_both_are_kept(stage: Stage) -> None:
    phone = stage.phone()
    other = stage.through_twin(phone)
    for _ in range(ROUNDS):
        probe = Probe(stage, phone, stage.ask(phone))
        statuses = _at_once([_answering(phone, probe, APPROVE), _answering(other, probe, DECLINE)])
        assert sorted(map(str, statuses)) == ["200", "409"]
        assert sorted(outcome for outcome, _ in probe.attempts()) == ["accepted", "late"]
        assert _settlements(probe) == ["confirmed" if statuses[0] == 200 else "declined"]


def test_an_approval_and_a_cancellation_at_two_processes_one_wins(stage: Stage, phone: Phone) -> None:
    bank = stage.twin_bank()
    for _ in range(ROUNDS):
        probe = Probe(stage, phone, stage.ask(phone))
        status, cancelled = _at_once(
            [_answering(phone, probe, APPROVE), partial(bank.cancel, probe.shown.transaction)]
        )
        if status == 200:
            assert isinstance(cancelled, BankRefused)
            assert cancelled.code == "transaction_settled"
            assert _settlements(probe) == ["confirmed"]
        else:
            assert status == 409
            assert _settlements(probe) == ["cancelled"]
            assert [outcome for outcome, _ in probe.attempts()] == ["late"]


def test_a_decline_after_an_approval_and_an_approval_after_a_cancellation_change_nothing(
    probe: Probe,
) -> None:
    assert probe.phone.approve(probe.shown)["status"] == "confirmed"
    body = probe.phone.confirmation_body(probe.shown, Operation.DECLINE)
    answer = probe.phone.request(DECLINE, body)
    probe.expect(answer, 409, "transaction_settled", proved=True, event="transaction.late_answer")
    with pytest.raises(BankRefused) as refused:
        probe.stage.bank.cancel(probe.shown.transaction)
    assert refused.value.code == "transaction_settled"
    assert [outcome for outcome, _ in probe.attempts()] == ["accepted", "late"]
    assert _settlements(probe) == ["confirmed"]


def test_an_approval_after_a_cancellation_is_late_and_kept(probe: Probe) -> None:
    probe.stage.bank.cancel(probe.shown.transaction)
    answer = probe.approve(probe.body())
    probe.expect(answer, 409, "transaction_settled", proved=True, event="transaction.late_answer")
    assert [outcome for outcome, _ in probe.attempts()] == ["late"]
    assert probe.stage.bank.transaction(probe.shown.transaction)["confirmation"] is None


def test_an_approval_and_a_block_at_two_processes_leave_no_half(stage: Stage) -> None:
    bank = stage.twin_bank()
    for _ in range(ROUNDS):
        phone = stage.phone()
        probe = Probe(stage, phone, stage.ask(phone))
        status, _ = _at_once([_answering(phone, probe, APPROVE), partial(bank.block, phone.account.user)])
        found = stage.bank.transaction(probe.shown.transaction)["status"]
        assert (status, found) in ((200, "confirmed"), (401, "pending"))
        assert stage.bank.user(phone.account.user)["status"] == "blocked"
        assert phone.request("transactions.pending", {}).status == 401


def test_two_registrations_with_different_keys_at_two_processes_one_wins(stage: Stage) -> None:
    for _ in range(ROUNDS):
        phone = stage.enrol(stage.user())
        other = stage.through_twin(phone)
        other.private_key = ec.generate_private_key(ec.SECP256R1())
        sent = [(line, line.envelope("keys.register", line.registration_body())) for line in (phone, other)]
        statuses = _at_once([_sending(line, "keys.register", raw) for line, raw in sent])
        told = [(each["type"], each["reason"]) for each in stage.events(user=phone.account.user)]
        assert sorted(map(str, statuses)) == ["200", "409"], told
        winner = (phone, other)[statuses.index(200)]
        winner.register()
        assert winner.approve(stage.ask(winner))["status"] == "confirmed"


def test_an_activation_code_asked_for_at_two_processes_is_given_once(stage: Stage) -> None:
    bank = stage.twin_bank()
    for _ in range(ROUNDS):
        user = stage.user()
        keyset = stage.bank.issue_keyset(user, "qr_and_code").id
        given = _at_once([partial(b.activation_code, user, keyset) for b in (stage.bank, bank)])
        assert sorted(isinstance(each, BankRefused) for each in given) == [False, True]


def test_keys_issued_at_two_processes_leave_one_open_keyset(stage: Stage) -> None:
    bank = stage.twin_bank()
    for _ in range(ROUNDS):
        user = stage.user()
        issued = _at_once([partial(b.issue_keyset, user) for b in (stage.bank, bank)])
        made = [each for each in issued if not isinstance(each, Exception)]
        assert made, issued
        statuses = [keyset["status"] for keyset in stage.bank.keysets(user)]
        assert sorted(statuses) == ["deleted"] * (len(made) - 1) + ["issued"]


def test_keys_made_by_one_process_serve_at_the_other(stage: Stage) -> None:
    phone = stage.through_twin(stage.enrol(stage.user()))
    phone.register()
    shown = stage.ask(phone)
    assert phone.approve(shown)["status"] == "confirmed"
    assert stage.bank.wait(shown.transaction, seconds=5)["status"] == "confirmed"
