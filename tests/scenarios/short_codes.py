"""What do tests of short codes share: transactions with the codes that phones show, handed in side by side."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.scenarios.offline import submit_code
from tests.counterparts.phone import Phone
from tests.scenarios.bench import ORIGIN, Bench, run


def codes_of(bench: Bench, phones: Mapping[str, Phone]) -> list[tuple[str, str]]:
    """Return a transaction of each, and the code that its phone shows."""
    made = []
    for user, phone in phones.items():
        transaction = run(bench.ask_to_confirm(user, offline=True))
        made.append((transaction, phone.short_code(run(bench.show(phone, transaction)))))
    return made


async def submit(bench: Bench, codes: Sequence[tuple[str, str]]) -> list[Any]:
    """Hand in all of them at once; return what came of each."""
    asked = [submit_code(bench.ctx, bench.asker, *each, ORIGIN) for each in codes]
    return await asyncio.gather(*asked, return_exceptions=True)
