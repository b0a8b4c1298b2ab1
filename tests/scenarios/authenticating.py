"""How do tests have a phone authenticate its user: a bench with rules, and the bodies that a phone makes under them."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.refusals import Refusal
from gateway.rules.policy import Policy, from_json
from gateway.store.tables import authentications, events
from gateway.wire.timestep import format_time
from hsm.device import Device
from tests.counterparts.phone import Phone
from tests.counterparts.phone_tlv import b64
from tests.counterparts.phone_wire import Operation, mac, truncate
from tests.scenarios.bench import Bench, opened_bench, run
from tests.store.databases import migrated_database

TEXT = "text/plain; charset=utf-8"
RULES: list[dict[str, str]] = [
    {"name": "login", "media_type": TEXT, "template": "Log in to Bank, {user}, {time}"},
    {"name": "door", "media_type": TEXT, "template": "Open the door, {step}"},
]
POLICY: Policy = from_json({"authentication_rules": RULES, "offline_allowed": True})
CALLBACK = "https://bank.example/told"
WRONG = "A" * 43 + "="


@contextmanager
def bench_with_rules(kind: str, folder: Path, device: Device, policy: Policy = POLICY) -> Iterator[Bench]:
    """Give a bench with the rules on this kind of database."""
    with (
        migrated_database(kind, folder) as database,
        opened_bench(database, device, policy, CALLBACK) as made,
    ):
        yield made


def login_text(bench: Bench, phone: Phone, seconds: int = 0) -> bytes:
    """Return content under the first rule, so many seconds from now."""
    moment = bench.clock.moment + timedelta(seconds=seconds)
    return f"Log in to Bank, {phone.account.user}, {format_time(moment)}".encode()


def door_text(step: int) -> bytes:
    """Return content under the second rule."""
    return f"Open the door, {format_time(datetime.fromtimestamp(step * 180, UTC))}".encode()


def door_digits(phone: Phone) -> str:
    """Return the digits that the phone shows under the second rule."""
    step = phone.step()
    digest = hashlib.sha256(door_text(step)).digest()
    message = phone.message(Operation.AUTHENTICATE, TEXT, digest, step=step)
    return truncate(mac(phone.keys.khmac, message.encode()), 8)


def body_of(phone: Phone, content: bytes, *, step: int | None = None, **changed: Any) -> dict[str, Any]:
    """Return the body of `authentications.create`."""
    message = phone.message(Operation.AUTHENTICATE, TEXT, hashlib.sha256(content).digest(), step=step)
    return {"media_type": TEXT, "content": b64(content), **phone.proofs(message), **changed}


async def authenticate(bench: Bench, phone: Phone, body: dict[str, Any]) -> Any:
    """Send it as the phone does."""
    return await bench.ask(phone, "authentications.create", body)


def expect_refused(bench: Bench, phone: Phone, body: dict[str, Any], code: str) -> None:
    """Send it and expect this refusal."""
    with pytest.raises(Refusal) as refused:
        run(authenticate(bench, phone, body))
    assert refused.value.problem.code == code


def kept(bench: Bench) -> list[Any]:
    """Return what is kept of authentications."""
    return bench.rows(sa.select(authentications).order_by(authentications.c.id))


def events_of(bench: Bench, type_: str) -> list[Any]:
    """Return the events of a type."""
    return bench.rows(sa.select(events).where(events.c.type == type_))
