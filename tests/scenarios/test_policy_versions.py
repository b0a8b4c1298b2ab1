"""Can anybody say later under which policy a keyset or a transaction was made, and what that policy was?"""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.refusals import Refusal
from gateway.scenarios import policies
from gateway.scenarios.bindings import BrokenBinding
from gateway.scenarios.transactions import fetch_transaction
from gateway.scenarios.user_lifecycle import fetch_user
from gateway.store.tables import events, policy_versions
from tests.scenarios.bench import ORIGIN, Bench, run


def _put(bench: Bench, **values: Any) -> int:
    found = run(policies.put_policy(bench.ctx, bench.asker, values, ORIGIN))
    bench.asker = bench.present()
    return int(found["version"])


def test_keysets_and_transactions_name_the_version_they_were_made_under(any_bench: Bench):
    bench = any_bench
    run(bench.enrol("anna"))
    first = run(bench.ask_to_confirm("anna"))
    assert _put(bench, digits=6) == 2
    second = run(bench.ask_to_confirm("anna"))
    run(bench.issue("anna"))
    views = [run(fetch_transaction(bench.ctx, bench.asker, name)) for name in (first, second)]
    assert [(view["policy_version"], view["digits"]) for view in views] == [(1, 8), (2, 6)]
    keysets = run(fetch_user(bench.ctx, bench.asker.application, "anna"))["keysets"]
    assert sorted(each["policy_version"] for each in keysets) == [1, 2]


def test_every_policy_there_was_can_be_read_in_its_own_words(bench: Bench):
    began = bench.clock.now()
    bench.clock.move(hours=1)
    _put(bench, password_length=9)
    _put(bench)
    found = run(policies.list_policies(bench.ctx, bench.asker, 0, 2))
    assert [each["version"] for each in found] == [1, 2]
    assert [each["policy"]["password_length"] for each in found] == [6, 9]
    assert [each["since"] for each in found] == [f"{began:%Y-%m-%dT%H:%M:%SZ}", "2030-06-01T13:00:00Z"]
    assert [each["version"] for each in run(policies.list_policies(bench.ctx, bench.asker, 2, 2))] == [3]
    assert run(policies.fetch_policy(bench.ctx, bench.asker, 2)) == found[1]
    with pytest.raises(Refusal, match="not_found"):
        run(policies.fetch_policy(bench.ctx, bench.asker, 4))


def test_the_log_says_what_each_version_was_put_with(bench: Bench):
    _put(bench, digits=6)
    chosen = sa.select(events.c.type, events.c.detail).where(events.c.detail.is_not(None))
    told = {row.type: row.detail for row in bench.rows(chosen) if "policy" in row.detail}
    assert told["policy.changed"] == {"version": 2, "policy": {"digits": 6}}
    assert (told["application.created"]["version"], told["application.created"]["policy"]["digits"]) == (1, 8)


def test_policies_put_at_once_get_a_version_each(any_bench: Bench):
    bench = any_bench

    async def all_at_once() -> list[dict[str, Any]]:
        puts = (
            policies.put_policy(bench.ctx, bench.asker, {"password_length": 6 + n}, ORIGIN) for n in range(5)
        )
        return await asyncio.gather(*puts)

    told = {each["version"]: each["policy"]["password_length"] for each in run(all_at_once())}
    assert sorted(told) == [2, 3, 4, 5, 6]
    rows = bench.rows(sa.select(policy_versions).where(policy_versions.c.version > 1))
    kept = {row.version: row.policy["password_length"] for row in rows}
    assert kept == told


@pytest.mark.parametrize("table", ["keysets", "transactions"])
def test_nobody_who_writes_to_the_database_changes_the_version(bench: Bench, table: str):
    phone = run(bench.enrol("anna"))
    shown = run(bench.show(phone, run(bench.ask_to_confirm("anna"))))
    bench.write(f"UPDATE {table} SET policy_version = 2")  # noqa: S608
    expected = BrokenBinding if table == "transactions" else Refusal
    with pytest.raises(expected):
        run(bench.approve(phone, shown))
