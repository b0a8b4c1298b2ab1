"""What holds when a user changes between two looks of one request: is that ever taken for a broken row?"""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.refusals import Refusal
from gateway.rules.user import UserAction
from gateway.scenarios import registration
from gateway.store import keysets
from gateway.store.tables import events
from tests.counterparts.phone import Phone
from tests.counterparts.phone_tlv import unb64
from tests.scenarios.bench import Bench, run


def _alarms(bench: Bench) -> int:
    return len(bench.rows(sa.select(events.c.id).where(events.c.result == "alarm")))


def _after_a_block(bench: Bench, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    """Have the user blocked by somebody else right before this function of the module does its work."""
    real: Callable[..., Any] = getattr(module, name)

    def blocked_before(*asked: Any) -> Any:
        monkeypatch.undo()
        meanwhile = threading.Thread(
            target=lambda: asyncio.run(bench.change("anna", UserAction.BLOCK)), daemon=True
        )
        meanwhile.start()
        meanwhile.join(20)
        return real(*asked)

    monkeypatch.setattr(module, name, blocked_before)


def test_a_user_who_is_blocked_between_two_looks_of_a_group_gets_no_keys_and_raises_no_alarm(
    any_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = any_bench
    if bench.ctx.database.is_sqlite:
        pytest.skip("on SQLite nobody else writes in between")
    run(bench.enrol("anna"))
    _after_a_block(bench, monkeypatch, keysets, "keysets_of_users")
    with pytest.raises(Refusal) as refused:
        run(bench.issue("anna"))
    assert refused.value.problem.code == "user_blocked"
    assert _alarms(bench) == 0


def test_a_row_that_is_broken_is_found_at_the_second_look_as_well(any_bench: Bench) -> None:
    bench = any_bench
    run(bench.enrol("anna"))
    bench.write("UPDATE keysets SET digits = digits - 1")
    with pytest.raises(Refusal) as refused:
        run(bench.issue("anna"))
    assert refused.value.problem.code == "integrity_failure"


def test_a_user_who_is_blocked_while_renewed_keys_are_registered_raises_no_alarm(
    any_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = any_bench
    phone = run(bench.enrol("anna"))
    wrap_key = rsa.generate_private_key(65537, 3072)
    answer = run(bench.ask(phone, "keys.renew", phone.renewal_body(wrap_key)))
    fresh = Phone.enrol(unb64(answer["package"]), wrap_key=wrap_key, clock=bench.clock.now)
    object.__setattr__(fresh.account, "fingerprint", phone.account.fingerprint)
    _after_a_block(bench, monkeypatch, registration, "_gather_renewed")
    with pytest.raises(Refusal) as refused:
        run(bench.register(fresh))
    assert refused.value.problem.code == "concurrent_change"
    assert _alarms(bench) == 0
