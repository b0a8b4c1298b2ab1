"""Do several workers that sweep at once tell of each key once?"""

import asyncio

from gateway.scenarios import housekeeping
from tests.scenarios.bench import Bench, run


def test_what_several_workers_sweep_at_once_is_told_of_once(any_bench: Bench):
    bench = any_bench
    replaced = run(bench.enrol("anna")).account.keyset
    kept = bench.keyset(run(bench.enrol("berta")).account.keyset)
    run(bench.issue("anna"))
    at = bench.clock.now().strftime("%Y-%m-%d %H:%M:%S.%f")
    bench.write(
        "INSERT INTO loose_keys (uri, keyset_id, planned_at, doomed_at) VALUES (:uri, 'ks_x', :at, :at)",
        uri=kept.khmac,
        at=at,
    )

    async def by_four() -> None:
        await asyncio.gather(*(housekeeping.sweep_keys(bench.ctx) for _ in range(4)))

    run(by_four())
    told = "SELECT type, keyset_id FROM events WHERE type IN ('key.destroyed', 'keyset.binding_broken')"
    assert sorted(tuple(row) for row in bench.rows(told)) == [
        ("key.destroyed", replaced),
        ("keyset.binding_broken", kept.id),
    ]
