"""Is a row of keys that is remembered as vouched for asked about again as soon as anything of it is another?"""

from collections import Counter
from dataclasses import replace

import pytest

from gateway.refusals import Refusal
from gateway.rules.user import UserStatus
from gateway.scenarios.vouched import Vouched
from hsm.keys import KeyRef
from tests.counterparts.phone import Phone
from tests.scenarios.bench import Bench, run

PENDING = "transactions.pending"


def _macs(bench: Bench) -> int:
    operations: Counter[tuple[str, str]] = Counter(bench.device.snapshot().operations)
    return operations["mac", "ok"]


def _cost(bench: Bench, phone: Phone, *, right: bool = True) -> int:
    before = _macs(bench)
    raw = bench.raw(phone, PENDING, {})
    if right:
        run(bench.send(phone, PENDING, raw))
    else:
        with pytest.raises(Refusal, match="authentication_failed"):
            run(bench.send(phone, PENDING, raw, bytes(32)))
    return _macs(bench) - before


def test_a_row_that_did_not_change_is_asked_about_once(bench: Bench) -> None:
    phone = run(bench.enrol("ann"))
    assert [_cost(bench, phone) for _ in range(3)] == [2, 1, 1]


def test_a_wrong_code_costs_the_same_whether_the_row_is_remembered_unknown_or_new(bench: Bench) -> None:
    phone = run(bench.enrol("bob"))
    unknown = Phone(replace(phone.account, keyset="ks_unknown"), phone.keys, clock=bench.clock.now)
    assert _cost(bench, phone, right=False) == 2
    _cost(bench, phone)
    assert _cost(bench, phone, right=False) == 2
    assert _cost(bench, unknown, right=False) == 2


def test_no_value_of_a_remembered_row_can_be_changed_unnoticed(bench: Bench) -> None:
    phone = run(bench.enrol("cat"))
    _cost(bench, phone)
    bench.write("UPDATE keysets SET valid_until = '2099-01-01' WHERE user_id = 'cat'")
    with pytest.raises(Refusal, match="authentication_failed"):
        run(bench.ask(phone, PENDING, {}))
    assert bench.rows("SELECT count(*) FROM events WHERE type = 'keyset.binding_broken'")[0][0] == 1


def test_a_blocked_user_is_refused_although_its_row_was_remembered(bench: Bench) -> None:
    phone = run(bench.enrol("dan"))
    _cost(bench, phone)
    bench.write("UPDATE users SET status = 'blocked' WHERE user_id = 'dan'")
    assert _cost(bench, phone, right=False) == 2


def test_a_row_whose_key_version_is_gone_is_not_believed_from_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = run(bench.enrol("eve"))
    _cost(bench, phone)
    versions = bench.ctx.keys.binding
    monkeypatch.setattr(versions, "_known", {2: versions.current[1]})
    with pytest.raises(Refusal, match="authentication_failed"):
        run(bench.ask(phone, PENDING, {}))


def test_the_oldest_row_gives_way(bench: Bench) -> None:
    run(bench.enrol("fay"))
    row = bench.keyset(bench.rows("SELECT id FROM keysets WHERE user_id = 'fay'")[0][0])
    rows = [replace(row, id=name) for name in ("one", "two", "three")]
    vouched = Vouched(most=2)
    for each in rows:
        vouched.remember(each, UserStatus.ACTIVE)
    assert [vouched.knows(each, UserStatus.ACTIVE) for each in rows] == [False, True, True]
    assert not vouched.knows(rows[2], UserStatus.BLOCKED)


def test_a_request_whose_key_is_not_on_the_token_fails_like_any_other_and_the_log_says_why(
    bench: Bench,
) -> None:
    phone = run(bench.enrol("eve"))
    bench.device.destroy(KeyRef.parse(bench.keyset(phone.account.keyset).kauth))
    with pytest.raises(Refusal, match="authentication_failed"):
        run(bench.ask(phone, PENDING, {}))
    ((reason,),) = bench.rows("SELECT reason FROM events WHERE type = 'client.authentication_failed'")
    assert reason == "the token does not compute with this keyset's key: KeyMissing"
