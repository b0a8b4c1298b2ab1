"""How do tests have answers scored: a bench with scoring, and a phone of some days that tells what it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gateway.rules.policy import from_json
from gateway.scenarios.transactions import fetch_transaction
from hsm.device import Device
from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Shown
from tests.scenarios.bench import Bench, opened_bench, run
from tests.store.databases import migrated_database

Json = dict[str, Any]
PHONE = {"uv": "password", "model": "Pixel 9", "os": "Android 16"}
WANTED = {"device_fields": 3, "collect_device_data": True, "offline_allowed": True}
CALLBACK = "https://bank.example/told"


@contextmanager
def scored_bench(kind: str, folder: Path, device: Device, scoring: Json | None) -> Iterator[Bench]:
    """Give a bench on this kind of database that scores by this."""
    policy = from_json({**WANTED, "scoring": scoring})
    with (
        migrated_database(kind, folder) as database,
        opened_bench(database, device, policy, CALLBACK) as made,
    ):
        yield made


def enrol(bench: Bench) -> Phone:
    """Enrol a phone that tells what it is, and let it grow old."""
    run(bench.create_user("anna"))
    phone = bench.phone(run(bench.issue("anna")))
    phone.device = dict(PHONE)
    run(bench.register(phone))
    bench.clock.move(days=2)
    return phone


def ask(bench: Bench, phone: Phone, seconds: float = 30, **more: Any) -> Shown:
    """Show the phone a transaction, and let so many seconds pass."""
    shown = run(bench.show(phone, run(bench.ask_to_confirm("anna", **more))))
    bench.clock.move(seconds=seconds)
    return shown


def approved(bench: Bench, phone: Phone, seconds: float = 30, **more: Any) -> Json:
    """Have the phone approve a transaction, and return the score."""
    shown = ask(bench, phone, seconds, **more)
    run(bench.approve(phone, shown))
    view = run(fetch_transaction(bench.ctx, bench.asker, shown.transaction))
    return dict(view["confirmation"]["scoring"])


def factors(scoring: Json) -> list[str]:
    """Return the names of what spoke against it."""
    return [each["factor"] for each in scoring["factors"]]
