"""Does the token hold exactly the keys that somebody owns, whoever was killed and whatever the database says?"""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.refusals import Refusal
from gateway.rules.keyset import KeysetStatus
from gateway.rules.user import UserAction
from gateway.scenarios import housekeeping, issuing
from gateway.scenarios.context import HOUSE_KEYS, HOUSE_PAIR
from gateway.scenarios.fair_share import FairShare
from gateway.store import loose_keys
from hsm import wrapping
from hsm.errors import DeviceError, DeviceUnavailable
from hsm.keys import KeyKind, KeyRef
from tests.scenarios.bench import Bench, run
from tests.store.databases import url_of

ROOT = Path(__file__).parents[2]
# Enrols a user and dies at a chosen step, as if by kill -9.
DIES = """
import os, signal, sys
from gateway import assembly
from gateway.scenarios import issuing, personalization
from gateway.scenarios.access import Asker
from gateway.scenarios.idempotency import Once
from gateway.settings import Settings
from gateway.rules.keyset import Delivery
from gateway.store import applications
from gateway.store.database import Database
from hsm.device import Device
from tests.scenarios.bench import ORIGIN, SCOPES, SetClock, run

database_url, token_uri, application_id, step = sys.argv[1:]
database, device = Database(database_url), Device.open(token_uri, wait_seconds=30)
with database.reading() as connection:
    asker = Asker(applications.find_application(connection, application_id), "key", frozenset(SCOPES))

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(issuing, {"planned": "make_package", "made": "bind_all"}[step], die)
with assembly.make_context(Settings(), database, device, SetClock()) as ctx:
    run(personalization.issue_keyset(
        ctx, asker, "anna", Delivery.QR, personalization.Given(), Once("the key", bytes(32)), ORIGIN))
"""


def _die(bench: Bench, token_uri: str, step: str) -> None:
    words = [url_of(bench.ctx.database), token_uri, bench.asker.application.id, step]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERSIGN_")}
    ended = subprocess.run(
        [sys.executable, "-c", DIES, *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == -9, ended.stderr


def _loose(bench: Bench) -> set[str]:
    with bench.ctx.database.reading() as connection:
        return loose_keys.known_uris(connection)


def _names(bench: Bench) -> set[str]:
    return {key.uri() for key in bench.device.user_keys()}


def _sweep(bench: Bench) -> int:
    return run(housekeeping.sweep_keys(bench.ctx))


@pytest.mark.parametrize(("step", "left"), [("planned", 0), ("made", 2)])
def test_what_a_killed_process_left_is_swept_after_ten_minutes_and_nothing_before(
    bench: Bench, own_device_uri: str, step: str, left: int
):
    run(bench.enrol("berta"))
    before = _names(bench)
    run(bench.create_user("anna"))
    _die(bench, own_device_uri, step)
    orphans = _names(bench) - before
    assert len(orphans) == left
    assert len(_loose(bench)) == 2
    assert orphans <= _loose(bench)
    bench.clock.move(minutes=10)
    assert _sweep(bench) == 0
    bench.clock.move(seconds=1)
    assert _sweep(bench) == 2
    assert _names(bench) == before
    assert _loose(bench) == set()


def test_the_idempotency_key_of_a_killed_process_is_free_after_ten_minutes(bench: Bench, own_device_uri: str):
    run(bench.create_user("anna"))
    _die(bench, own_device_uri, "planned")
    bench.clock.move(minutes=10)
    run(housekeeping.forget_old_marks(bench.ctx))
    assert _code_of(bench, "the key") == "in_progress"
    bench.clock.move(seconds=1)
    run(housekeeping.forget_old_marks(bench.ctx))
    run(bench.issue("anna", key="the key"))
    assert _code_of(bench, "the key") == "already_delivered"
    bench.clock.move(hours=23)
    run(housekeeping.forget_old_marks(bench.ctx))
    assert _code_of(bench, "the key") == "already_delivered"


def _code_of(bench: Bench, key: str) -> str:
    with pytest.raises(Refusal) as refused:
        run(bench.issue("anna", key=key))
    return refused.value.problem.code


class _Held(
    ThreadPoolExecutor
):  # a process that was stopped for a while: its next task waits until it is let go
    def __init__(self) -> None:
        super().__init__(1)
        self.waiting, self.go = threading.Event(), threading.Event()

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        def wait() -> Any:
            self.waiting.set()
            return self.go.wait(30) and work(*args, **kwargs)

        return super().submit(wait)


def test_keys_made_after_the_sweep_gave_them_up_are_not_adopted_and_not_forgotten(bench: Bench):
    run(bench.create_user("anna"))
    before = _names(bench)
    held = _Held()

    async def enrol_slowly() -> None:
        slow = Bench(replace(bench.ctx, device_share=FairShare(held, 1)), bench.clock, bench.asker)
        issuing = asyncio.ensure_future(slow.issue("anna", key="the key"))
        await asyncio.to_thread(held.waiting.wait, 30)
        bench.clock.move(minutes=11)
        assert await housekeeping.sweep_keys(bench.ctx) == 2
        held.go.set()
        await issuing

    with held, pytest.raises(Refusal, match="concurrent_change"):
        run(enrol_slowly())
    assert len(_names(bench) - before) == 2
    _sweep(bench)
    assert _names(bench) == before
    run(bench.issue("anna", key="the key"))


@pytest.mark.parametrize("sweep", ["dooms", "destroys"])
def test_an_adoption_that_comes_after_the_sweep_is_refused_and_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, sweep: str
):
    run(bench.create_user("anna"))
    before = _names(bench)

    def swept_afterwards(*what: Any) -> Any:
        made = make_package(*what)
        bench.clock.move(minutes=11)
        now = bench.clock.now()
        if sweep == "dooms":
            asyncio.run(bench.ctx.unit(loose_keys.doom_forgotten, now, now))
        else:
            asyncio.run(housekeeping.sweep_keys(bench.ctx))
        return made

    make_package = issuing.make_package
    monkeypatch.setattr(issuing, "make_package", swept_afterwards)
    with pytest.raises(Refusal, match="concurrent_change"):
        run(bench.issue("anna", key="the key"))
    monkeypatch.undo()
    _sweep(bench)
    assert _names(bench) == before
    assert bench.rows("SELECT * FROM keysets") == []
    run(bench.issue("anna", key="the key"))
    assert len(_names(bench) - before) == 2


def test_a_device_that_fails_half_way_leaves_no_key_and_frees_the_idempotency_key(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    run(bench.create_user("anna"))
    before = _names(bench)
    made: list[int] = []
    require_sealed = wrapping._require_sealed

    def fail_at_the_second(kept: Any) -> None:
        made.append(1)
        if len(made) == 2:
            raise DeviceUnavailable("the device broke half-way")
        require_sealed(kept)

    monkeypatch.setattr(wrapping, "_require_sealed", fail_at_the_second)
    with pytest.raises(DeviceError, match="half-way"):
        run(bench.issue("anna", key="the key"))
    assert _names(bench) == before
    run(bench.issue("anna", key="the key"))
    assert len(_names(bench) - before) == 2
    _sweep(bench)
    assert len(_names(bench) - before) == 2
    assert _loose(bench) == set()


def test_of_replaced_keys_only_kauth_goes_and_old_answers_still_verify(bench: Bench):
    phone = run(bench.enrol("anna"))
    old = bench.keyset(phone.account.keyset)
    run(bench.issue("anna"))
    _sweep(bench)
    _expect_only_kauth_gone(bench, old.id)


def test_of_a_deleted_users_keys_only_kauth_goes(bench: Bench):
    phone = run(bench.enrol("anna"))
    run(bench.change("anna", UserAction.DELETE))
    _sweep(bench)
    _expect_only_kauth_gone(bench, phone.account.keyset)


def _expect_only_kauth_gone(bench: Bench, keyset_id: str) -> None:
    keyset = bench.keyset(keyset_id)
    assert keyset.status is KeysetStatus.DELETED
    left = _names(bench)
    assert (keyset.kauth in left, keyset.khmac in left, keyset.kpublic in left) == (False, True, True)
    assert bench.device.mac(KeyRef.parse(keyset.khmac), b"x")
    assert _loose(bench) == set()


def test_of_a_void_keyset_nothing_stays(bench: Bench):
    run(bench.create_user("anna"))
    issued = run(bench.issue("anna"))
    phone = bench.phone(issued)
    phone.account = replace(phone.account, package_digest=bytes(32))
    with pytest.raises(Refusal, match="package_differs"):
        run(bench.register(phone))
    keyset = bench.keyset(issued.keyset["id"])
    _sweep(bench)
    assert keyset.khmac not in _names(bench)
    assert keyset.kauth in _names(bench)  # it has just proved the answer
    bench.clock.move(minutes=11)
    _sweep(bench)
    assert keyset.kauth not in _names(bench)


def _house(bench: Bench) -> list[KeyRef]:
    device = bench.device
    return [*(device.house_key(name) for name in HOUSE_KEYS), *device.house_pair(HOUSE_PAIR)]


def test_no_row_of_the_database_makes_the_sweep_destroy_a_key_of_the_house(bench: Bench):
    keys = _house(bench)
    made = [KeyRef(KeyKind.SECRET, os.urandom(16)) for _ in range(2)]
    bench.device.issue(os.urandom(32), [key.id for key in made], "countersign-user-hmac")
    rows = [
        *(key.uri() for key in keys),
        "pkcs11:id=%00;type=secret-key",
        "not a URI",
        *(k.uri() for k in made),
    ]
    for number, uri in enumerate(rows):
        bench.write(
            "INSERT INTO loose_keys (uri, keyset_id, planned_at, doomed_at) VALUES (:uri, 'ks', :at, :at)",
            uri=uri,
            at=f"2030-01-01 00:00:{number:02}.000000",
        )
    _sweep(bench)
    assert _house(bench) == keys
    assert set(made).isdisjoint(bench.device.user_keys())
    assert _loose(bench) == set()
    results = bench.rows("SELECT result FROM events WHERE type IN ('key.destroyed', 'keyset.binding_broken')")
    assert [row.result for row in results] == ["alarm"] * 9 + ["destroyed"] * 2


def test_a_forged_keyset_row_does_not_make_the_sweep_destroy_a_key_of_the_house(bench: Bench):
    keys = _house(bench)
    run(bench.create_user("anna"))
    issued = run(bench.issue("anna"))
    bench.write(
        "UPDATE keysets SET khmac = :khmac, kauth = :kauth, lapses_at = '2030-01-01 00:00:00.000000'",
        khmac=bench.ctx.keys.binding.current[1].uri(),
        kauth=bench.ctx.keys.webhook.uri(),
    )
    run(housekeeping.lapse_keysets(bench.ctx))
    assert bench.keyset(issued.keyset["id"]).status is KeysetStatus.LAPSED
    _sweep(bench)
    assert _house(bench) == keys
