"""What does an application get that asks once more for a transaction, and how long does one wait?"""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.refusals import Refusal
from gateway.rules.policy import Policy
from gateway.scenarios.creating import create_transaction
from gateway.scenarios.idempotency import Once
from gateway.store import guards
from gateway.store.tables import transactions
from hsm.device import Device
from tests.scenarios.bench import ORIGIN, WISH, Bench, opened_bench, run
from tests.store.databases import migrated_database

CALLBACK = "https://bank.example/told"


def _decided(bench: Bench, policy: Policy, callback: str | None = None) -> None:
    """Have the application under this policy and callback address from now on."""
    application = replace(bench.asker.application, policy=policy, callback_url=callback)
    bench.asker = replace(bench.asker, application=application)


async def _asked(bench: Bench, key: str, **changed: Any) -> tuple[str, bool]:
    wish = replace(WISH, **changed)
    view, new = await create_transaction(bench.ctx, bench.asker, wish, Once(key, bytes(32)), ORIGIN)
    return str(view["id"]), new


def test_what_was_made_is_told_again_even_if_it_could_not_be_made_any_more(bench: Bench):
    run(bench.enrol("anna"))
    wish = {"offline": True, "callback_url": CALLBACK, "expires_in_seconds": 7200}
    _decided(bench, Policy(offline_allowed=True), CALLBACK)
    made, _ = run(_asked(bench, "one", **wish))
    for policy, callback in (
        (Policy(), CALLBACK),
        (Policy(offline_allowed=True), None),
        (Policy(offline_allowed=True, transaction_seconds_most=60), CALLBACK),
    ):
        _decided(bench, policy, callback)
        assert run(_asked(bench, "one", **wish)) == (made, False)
        with pytest.raises(Refusal) as refused:
            run(_asked(bench, "another", **wish))
        assert refused.value.problem.code == "not_allowed_by_policy"
    assert len(bench.rows(sa.select(transactions))) == 1


def test_no_transaction_waits_longer_than_the_policy_lets_any(bench: Bench):
    run(bench.enrol("anna"))
    _decided(bench, Policy(transaction_seconds=900, transaction_seconds_most=60))
    run(_asked(bench, "one"))
    [row] = bench.rows(sa.select(transactions))
    assert row.expires_at - row.created_at == timedelta(seconds=60)


def test_a_key_that_is_given_back_while_it_is_asked_for_once_more_is_free(
    tmp_path: Path, own_device: Device, monkeypatch: pytest.MonkeyPatch
):
    find = guards.find_request
    with migrated_database("postgresql", tmp_path) as database, opened_bench(database, own_device) as bench:
        run(bench.enrol("anna"))
        key = bench.asker.application.id, "one"
        with database.unit() as connection:
            guards.remember_request(connection, *key, bytes(32), bench.clock.now())

        def find_too_late(*asked: Any) -> Any:
            with database.unit() as another:  # the request that had the key failed, in another process
                guards.forget_request(another, *key)
            return find(*asked)

        monkeypatch.setattr(guards, "find_request", find_too_late)
        _, new = run(_asked(bench, "one"))
        assert new
