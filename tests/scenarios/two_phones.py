"""How do tests get a user with two phones, and what do they ask of its devices?"""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gateway.refusals import Refusal
from gateway.rules.policy import Policy
from gateway.scenarios import device_lifecycle
from gateway.store.tables import events
from hsm.device import Device
from tests.counterparts.phone import Phone
from tests.scenarios.bench import ORIGIN, Bench, opened_bench, run
from tests.store.databases import migrated_database

PUSH = {"provider": "fcm", "identifier": "an address"}
TWO = Policy(devices_most=2)


@contextlib.contextmanager
def two_bench(kind: str, folder: Path, device: Device) -> Iterator[Bench]:
    """A bench whose users may have two devices."""
    told = "https://bank.example/told"
    with (
        migrated_database(kind, folder) as database,
        opened_bench(database, device, TWO, callback_url=told) as made,
    ):
        yield made


def another_phone(bench: Bench, device: str | None = None, push: dict[str, str] | None = None) -> Phone:
    """One more phone of anna's, or the one that is named anew."""
    bench.clock.move(seconds=1)  # ids are in the order of time
    phone = bench.phone(run(bench.issue("anna", device=device)))
    run(bench.ask(phone, "keys.register", phone.registration_body(push=push)))
    phone.account = replace(phone.account, registered=True)
    return phone


def two_phones(bench: Bench) -> tuple[Phone, Phone]:
    """A user, anna, and her two phones."""
    run(bench.create_user("anna"))
    phones = another_phone(bench, push=PUSH), another_phone(bench, push=PUSH)
    bench.clock.move(seconds=1)
    return phones


def code_of(work: Coroutine[Any, Any, Any]) -> str:
    """How it ended: done, or the code of the refusal."""
    try:
        run(work)
    except Refusal as refusal:
        return refusal.problem.code
    return "done"


async def all_of(*asked: Coroutine[Any, Any, Any]) -> list[str]:
    """Do it all at once; return how each ended, a bug raises."""
    ended = []
    for answer in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(answer, BaseException) and not isinstance(answer, Refusal):
            raise answer
        ended.append(answer.problem.code if isinstance(answer, Refusal) else "done")
    return ended


def device_of(bench: Bench, phone: Phone) -> str:
    """The device that the phone is."""
    return str(bench.keyset(phone.account.keyset).device_id)


def remove(bench: Bench, device: str) -> Coroutine[Any, Any, dict[str, Any]]:
    """Remove a device of anna's."""
    return device_lifecycle.remove_device(bench.ctx, bench.asker.application, "anna", device, ORIGIN)


def states(bench: Bench) -> list[tuple[str, str]]:
    """Anna's devices with their states."""
    listed = run(device_lifecycle.list_devices(bench.ctx, bench.asker.application, "anna"))
    return [(each["id"], each["status"]) for each in listed]


def answers(bench: Bench, phone: Phone) -> str:
    """How a plain request of the phone ends."""
    return code_of(bench.ask(phone, "transactions.pending", {}))


def events_of(bench: Bench, type_: str) -> list[tuple[str | None, str | None]]:
    """Keyset and reason of each event of the type."""
    chosen = sa.select(events.c.keyset_id, events.c.reason).where(events.c.type == type_)
    rows = bench.rows(chosen.order_by(events.c.number))
    return [tuple(row) for row in rows]
