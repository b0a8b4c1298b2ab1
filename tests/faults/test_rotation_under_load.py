"""Is nothing felt of a rotation of the binding key, while phones confirm and the rotation itself is killed?"""

import asyncio
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults import fault_run
from tests.faults.device_crowd import Confirming
from tests.faults.fault_run import Report
from tests.gateways import ROOT, Gateway

_WAITING = 400  # transactions nobody answers, so that there is something to bind anew


def rotate(gateway: Gateway) -> subprocess.Popen[str]:
    """Begin to rotate, as an operator does."""
    return subprocess.Popen(
        [sys.executable, "-m", "gateway", "keys", "rotate", "binding"],
        cwd=ROOT,
        env=gateway.environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def kill_after_some_rows(running: subprocess.Popen[str]) -> int:
    """Let it bind some rows, then kill it; returns how many it told of."""
    assert running.stdout is not None
    line = running.stdout.readline()
    running.kill()
    running.wait()
    running.stdout.close()
    return int(line.split()[2])


def create_waiting(crowd: Confirming) -> None:
    with crowd.bank() as bank:
        users = list(crowd.phones)  # none of them may have too many
        for number in range(_WAITING):
            crowd._create(bank, users[number % len(users)], f"waiting-{number}")


def rotate_twice(gateway: Gateway, crowd: Confirming) -> tuple[int, int, str]:
    """Rotate while everybody confirms: a first time until it is killed, and again to the end."""
    with ThreadPoolExecutor(len(crowd.phones)) as threads:
        working = [threads.submit(crowd.work, user) for user in crowd.phones]
        try:
            crowd.until_served(time.monotonic(), 60)
            told = kill_after_some_rows(rotate(gateway))
            crowd.until_served(time.monotonic(), 60)
            again = rotate(gateway)
            output, _ = again.communicate(timeout=120)
            crowd.until_served(time.monotonic(), 60)
        finally:
            crowd.stop()
        for each in working:
            each.result()
    return told, again.returncode, output


@pytest.mark.long
def test_phones_confirm_without_a_refusal_while_the_binding_key_is_rotated_and_the_rotation_is_killed(
    tmp_path: Path, token_uri: str
):
    gateway = fault_run.make_gateway(tmp_path, token_uri, "")
    gateway.extra["COUNTERSIGN_CANARY_SECONDS"] = "1"
    shown = gateway.add_application(callback="https://127.0.0.1:1/")  # nobody is there: they wait
    gateway.start()
    crowd = Confirming(gateway, shown["api_key"])
    report = Report("SQLite", 0)
    try:
        create_waiting(crowd)
        told, again, output = rotate_twice(gateway, crowd)
        listed = json.loads(gateway.run("keys", "list", "--json").stdout)
        retired = gateway.run("keys", "retire", "binding", "1")
    finally:
        crowd.close()
        gateway.stop()
    assert (again, 0 < told < _WAITING) == (0, True), output
    assert "binding 2: " in output.splitlines()[-1]
    used = {each["version"]: {"keysets", "transactions"} & set(each) for each in listed[:2]}
    assert used == {1: set(), 2: {"keysets", "transactions"}}
    assert "binding 1 is destroyed" in retired.stdout
    asyncio.run(fault_run.audit_all(gateway, crowd, report))
    assert crowd.notes.wrong + report.faults == []
    assert dict(crowd.notes.failures) == {}
    assert len(crowd.answers) > len(crowd.phones)
