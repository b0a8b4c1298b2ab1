"""Is a request accepted only from who holds the keys, once, in time, and does every failure look the same?"""

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.api.probe import APPROVE, Probe, problem, without_ids
from tests.counterparts.phone import Phone
from tests.counterparts.phone_line import PROOF_HEADER, Answer
from tests.counterparts.phone_tlv import b64
from tests.counterparts.phone_wire import Operation, format_time
from tests.journeys.stage import Stage

FAILED = "client.authentication_failed"
PENDING = "transactions.pending"


def _headers(*proofs: str) -> list[tuple[str, str]]:
    return [("Content-Type", "application/json"), *((PROOF_HEADER, proof) for proof in proofs)]


def _with_header(make: Callable[[str], list[str]]) -> Callable[[Probe], Answer]:
    """Send the right request with another header."""

    def send(probe: Probe) -> Answer:
        raw = probe.phone.envelope(APPROVE, probe.body())
        return probe.phone.send(APPROVE, raw, headers=_headers(*make(b64(probe.phone.authcode(raw)))))

    return send


# Borders are met exactly in tests/scenarios/test_windows.py; here a request may be on its way for a while.
def _at(seconds: int) -> Callable[[Probe], Answer]:
    def send(probe: Probe) -> Answer:
        return probe.approve(probe.body(), time=format_time(datetime.now(UTC) + timedelta(seconds=seconds)))

    return send


def _changed_after_sealing(probe: Probe) -> Answer:
    raw = probe.phone.envelope(APPROVE, probe.body())
    return probe.phone.send(APPROVE, raw + b" ", authcode=probe.phone.authcode(raw))


def _under_keys_of(other: Callable[[Probe], Phone]) -> Callable[[Probe], Answer]:
    """Name the keyset of the probe's phone, with the AUTHCODE of another phone."""

    def send(probe: Probe) -> Answer:
        raw = probe.phone.envelope(APPROVE, probe.body())
        return probe.phone.send(APPROVE, raw, authcode=other(probe).authcode(raw))

    return send


def _under_khmac(probe: Probe) -> Answer:
    swapped = Phone(probe.phone.account, replace(probe.phone.keys, kauth=probe.phone.keys.khmac))
    swapped.close()
    raw = probe.phone.envelope(APPROVE, probe.body())
    return probe.phone.send(APPROVE, raw, authcode=swapped.authcode(raw))


FAILURES: dict[str, Callable[[Probe], Answer]] = {
    "random code": lambda probe: probe.phone.send(
        APPROVE, probe.phone.envelope(APPROVE, probe.body()), authcode=secrets.token_bytes(32)
    ),
    "code of zeros": lambda probe: probe.phone.send(
        APPROVE, probe.phone.envelope(APPROVE, probe.body()), authcode=bytes(32)
    ),
    "no header": _with_header(lambda _: []),
    "empty header": _with_header(lambda _: [""]),
    "truncated code": _with_header(lambda code: [code[:-4]]),
    "code without padding": _with_header(lambda code: [code.rstrip("=")]),
    "code in hexadecimal": _with_header(lambda _: ["00" * 22]),
    "code with a scheme": _with_header(lambda code: [f"HMAC {code}"]),
    "two headers, the same": _with_header(lambda code: [code, code]),
    "two headers, the second wrong": _with_header(lambda code: [code, b64(bytes(32))]),
    "two headers, the first wrong": _with_header(lambda code: [b64(bytes(32)), code]),
    "two codes in one header": _with_header(lambda code: [f"{code}, {code}"]),
    "changed after sealing": _changed_after_sealing,
    "sealed under Khmac": _under_khmac,
    "sealed by another user": _under_keys_of(lambda probe: probe.stage.phone()),
    "sealed by a user of another bank": _under_keys_of(
        lambda probe: probe.stage.phone(bank=probe.stage.foreign)
    ),
    "unknown keyset": lambda probe: probe.approve(probe.body(), keyset="ks_" + "0" * 32),
    "keyset of another alphabet": lambda probe: probe.approve(probe.body(), keyset="ключ' OR '1'='1"),
    "late": _at(-302),
    "very late": _at(-86400 * 400),
    "early": _at(360),
    "before all time": lambda probe: probe.approve(probe.body(), time="0001-01-01T00:00:00Z"),
    "after all time": lambda probe: probe.approve(probe.body(), time="9999-12-31T23:59:59Z"),
}


@pytest.fixture(scope="module")
def usual_failure(stage: Stage) -> tuple[int, list[tuple[str, str]], bytes]:
    """What the failure of an unknown keyset looks like."""
    phone = stage.phone()
    return without_ids(phone.request(PENDING, {}, keyset="ks_unknown"))


@pytest.mark.parametrize("attack", FAILURES.values(), ids=FAILURES)
def test_every_failure_has_the_one_answer_and_its_reason_in_the_log(
    probe: Probe, attack: Callable[[Probe], Answer], usual_failure: object
) -> None:
    answer = attack(probe)
    probe.expect(answer, 401, "authentication_failed", proved=False, event=FAILED)
    assert without_ids(answer) == usual_failure
    assert probe.stage.bank.user(probe.phone.account.user)["failures"] == 0
    probe.still_works()


def _blocked(stage: Stage) -> Phone:
    phone = stage.phone()
    stage.bank.block(phone.account.user)
    return phone


def _deleted(stage: Stage) -> Phone:
    phone = stage.phone()
    stage.bank.delete_user(phone.account.user)
    return phone


def _replaced(stage: Stage) -> Phone:
    phone = stage.phone()
    stage.phone(phone.account.user)
    return phone


def _issued(stage: Stage) -> Phone:
    return stage.enrol(stage.user())


@pytest.mark.parametrize("make", [_blocked, _deleted, _replaced, _issued])
def test_keys_that_may_not_be_used_fail_like_unknown_ones(
    stage: Stage, make: Callable[[Stage], Phone], usual_failure: object
) -> None:
    assert without_ids(make(stage).request(PENDING, {})) == usual_failure


@pytest.mark.parametrize("seconds", [-240, 295])
def test_a_clock_that_is_a_little_wrong_does_no_harm(probe: Probe, seconds: int) -> None:
    answer = _at(seconds)(probe)
    assert (answer.status, probe.is_proved(answer)) == (200, True)


def test_the_same_bytes_are_accepted_once(probe: Probe, usual_failure: object) -> None:
    raw = probe.phone.envelope(APPROVE, probe.body())
    assert probe.phone.send(APPROVE, raw).status == 200
    again = probe.phone.send(APPROVE, raw)
    assert without_ids(again) == usual_failure
    assert {line["reason"] for line in probe.stage.recorded(again)} == {"replayed request"}
    assert len(probe.attempts()) == 1


@pytest.mark.parametrize("action", [PENDING, "transactions.get", "transactions.content", "devices.update"])
def test_a_request_that_only_reads_is_accepted_once_too(
    probe: Probe, action: str, usual_failure: object
) -> None:
    body = {
        PENDING: {},
        "transactions.get": {"transaction": probe.shown.transaction},
        "transactions.content": {"transaction": probe.shown.transaction, "offset": 0, "length": 4},
        "devices.update": {"push": None},
    }[action]
    raw = probe.phone.envelope(action, body)
    assert probe.phone.send(action, raw).status == 200
    assert without_ids(probe.phone.send(action, raw)) == usual_failure
    probe.still_works()


@pytest.mark.parametrize("body", [{"nonsense": 1}, {"transaction": "txn_unknown"}], ids=str)
def test_a_refused_request_is_used_up_as_well(probe: Probe, body: object, usual_failure: object) -> None:
    raw = probe.phone.envelope("transactions.get", body)
    first = probe.phone.send("transactions.get", raw)
    assert first.status in (400, 404)
    assert probe.is_proved(first)
    assert without_ids(probe.phone.send("transactions.get", raw)) == usual_failure


def test_a_wrong_answer_sent_again_is_not_counted_again(probe: Probe, usual_failure: object) -> None:
    raw = probe.phone.envelope(APPROVE, probe.body(code=b64(bytes(32))))
    assert problem(probe.phone.send(APPROVE, raw)) == (403, "proof_refused")
    for _ in range(6):
        assert without_ids(probe.phone.send(APPROVE, raw)) == usual_failure
    assert probe.stage.bank.user(probe.phone.account.user)["failures"] == 1
    probe.still_works()


def test_a_repeat_is_refused_by_a_second_process_and_after_its_restart(
    probe: Probe, usual_failure: object
) -> None:
    twin = probe.stage.through_twin(probe.phone)
    raw = probe.phone.envelope(APPROVE, probe.body())
    assert probe.phone.send(APPROVE, raw).status == 200
    assert without_ids(twin.send(APPROVE, raw)) == usual_failure
    other = twin.envelope(PENDING, {})
    assert twin.send(PENDING, other).status == 200
    probe.stage.twin.stop()
    probe.stage.twin.start()
    for phone, sent in ((twin, raw), (twin, other), (probe.phone, other)):
        action = APPROVE if sent is raw else PENDING
        assert without_ids(phone.send(action, sent)) == usual_failure


def test_every_answer_to_an_authenticated_request_is_proved(probe: Probe) -> None:
    phone, transaction = probe.phone, probe.shown.transaction
    answers = [
        phone.request(PENDING, {}),
        phone.request("transactions.content", {"transaction": transaction, "offset": 0, "length": 5}),
        phone.request(PENDING, {"wait": "long"}),
        phone.request("transactions.get", {"transaction": "txn_unknown"}),
        probe.approve(probe.body(code=b64(bytes(32)))),
        probe.approve(probe.body()),
        phone.request("transactions.decline", phone.confirmation_body(probe.shown, Operation.DECLINE)),
    ]
    assert [answer.status for answer in answers] == [200, 200, 400, 404, 403, 200, 409]
    assert all(probe.is_proved(answer) for answer in answers)
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store, no-transform"}
    assert all(answer.date() is not None for answer in answers)  # by which a phone corrects its clock


def test_the_proof_of_one_answer_does_not_fit_another(probe: Probe) -> None:
    first, second = probe.phone.request(PENDING, {}), probe.phone.request(PENDING, {})
    assert first.body == second.body
    assert first.headers[PROOF_HEADER] != second.headers[PROOF_HEADER]
    assert not replace(first, authcode=second.authcode).proved_under(probe.phone.keys.kauth)
    assert not replace(first, status=201).proved_under(probe.phone.keys.kauth)


def test_the_same_nonce_in_another_request_is_another_request(probe: Probe) -> None:
    nonce = "A" * 22
    assert probe.phone.request(PENDING, {}, nonce=nonce).status == 200
    assert probe.phone.request("devices.update", {"push": None}, nonce=nonce).status == 200


def test_of_device_data_that_nobody_proved_the_log_keeps_little(stage: Stage, probe: Probe) -> None:
    device = {"model": "Phone 7", "uv": "password"} | {f"note_{number}": "x" * 250 for number in range(25)}
    raw = probe.phone.envelope(PENDING, {}, device=device)
    answers = probe.phone.send(PENDING, raw, authcode=bytes(32)), probe.phone.send(PENDING, raw)
    [[guessed], [proved]] = [stage.recorded(answer) for answer in answers]
    kept = guessed["detail"]["device"]
    assert (kept["model"], kept["uv"]) == ("Phone 7", "password")
    assert len(str(kept)) < 600
    assert proved["detail"]["device"] == device
