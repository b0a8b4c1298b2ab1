"""Does the gateway lose nothing when any of its processes is killed at any moment?

`scripts/faults` runs the same with 1,000 confirmations and prints the figures.
"""

import asyncio
import os
import random
import signal
import time
from pathlib import Path

import pytest

from gateway.serving import application_asgi
from tests.faults import fault_run
from tests.faults.processes import children
from tests.gateways import Authority, Gateway
from tests.store.databases import KINDS, empty_database

CONFIRMATIONS = int(os.environ.get("FAULTS_CONFIRMATIONS", "100"))
SEED = int(os.environ.get("FAULTS_SEED", random.SystemRandom().randrange(1_000_000)))
LEAST, MOST = (float(seconds) for seconds in os.environ.get("FAULTS_PAUSE", "1-4").split("-"))


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_while_processes_are_killed(
    kind: str, tmp_path: Path, token_uri: str, capsys: pytest.CaptureFixture[str]
):
    with empty_database(kind, tmp_path) as url, capsys.disabled():
        print(f"\n{CONFIRMATIONS} confirmations, a kill after {LEAST:g} to {MOST:g} s, seed {SEED}")  # noqa: T201
        gateway = fault_run.make_gateway(tmp_path, token_uri, "" if kind == "sqlite" else url)
        report = fault_run.run(gateway, CONFIRMATIONS, pause=(LEAST, MOST), seed=SEED)
        print(f"\n{report.text()}\n{'seed':>28}  {SEED}")  # noqa: T201 - the report is what it is run for
    assert report.faults == []
    assert report.confirmations == CONFIRMATIONS


def test_a_killed_parent_takes_its_door_with_it_so_that_the_door_can_be_opened_again(
    tmp_path: Path, token_uri: str
):
    gateway = Gateway(tmp_path, token_uri, Authority.make(tmp_path))
    gateway.run("init")
    first = gateway.start("serve", "application")
    serving = children(first.pid)
    assert serving
    first.kill()
    first.wait()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in serving):
        assert time.monotonic() < deadline, "the child lives on and keeps the port"
        time.sleep(0.05)
    second = gateway.start("serve", "application")
    second.send_signal(signal.SIGTERM)
    assert second.wait(30) == 0


def test_a_killed_child_ends_its_door_with_a_failure_so_that_a_supervisor_starts_it_anew(
    tmp_path: Path, token_uri: str
):
    gateway = Gateway(tmp_path, token_uri, Authority.make(tmp_path))
    gateway.run("init")
    door = gateway.start("serve", "application")
    for pid in children(door.pid):
        os.kill(pid, signal.SIGKILL)
    assert door.wait(30) == 1


def test_a_door_that_cannot_be_opened_says_so_to_its_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs_put_back: None
):
    for name in [name for name in os.environ if name.startswith("COUNTERSIGN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COUNTERSIGN_DATA_DIR", str(tmp_path))
    said: list[dict[str, str]] = []

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: dict[str, str]) -> None:
        said.append(message)

    asyncio.run(application_asgi({"type": "lifespan"}, receive, send))  # type: ignore[arg-type]
    assert said == [{"type": "lifespan.startup.failed", "message": "SchemaBehind"}]
