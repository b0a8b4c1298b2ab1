"""Does a process whose token does not answer end, so that it is started anew, whoever starts it?"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.gateways import Authority, Gateway
from tests.hsm import misbehaving
from tests.tokens import MODULE

_MOST_SECONDS = 60


@pytest.fixture
def gateway(tmp_path: Path, token_uri: str) -> Iterator[Gateway]:
    """A gateway on a module that misbehaves as it is told."""
    shim = misbehaving.build(tmp_path, MODULE)
    made = Gateway(tmp_path, token_uri.replace(MODULE, str(shim)), Authority.make(tmp_path))
    made.extra["COUNTERSIGN_TOKEN_CALL_SECONDS"] = "3"
    made.run("init")
    yield made
    misbehaving.Shim().obey_no_more()
    made.stop()


def ask(gateway: Gateway) -> httpx2.Response | None:
    """Ask whether it is ready, which asks the token."""
    with httpx2.Client(verify=False, trust_env=False, timeout=2) as http:
        try:
            return http.get(f"{gateway.application_url}/readyz")
        except httpx2.HTTPError:
            return None


def hang(gateway: Gateway) -> misbehaving.Shim:
    """Have a call to the token not come back."""
    shim = misbehaving.Shim()
    shim.order("C_Sign", hang=1)
    wait_until(lambda: ask(gateway) is None or shim.hanging())
    return shim


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + _MOST_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_gateway_whose_token_hangs_ends_with_success(gateway: Gateway) -> None:
    process = gateway.start()
    hang(gateway)
    wait_until(lambda: process.poll() is not None)
    assert process.returncode == 0
    assert "does not come back" in gateway.log_file.read_text()


def test_a_worker_whose_token_hung_and_came_back_too_late_ends_with_success(gateway: Gateway) -> None:
    gateway.extra["COUNTERSIGN_CANARY_SECONDS"] = "1"
    worker = gateway.start("work", wait=False)
    wait_until(lambda: '"working"' in gateway.log_file.read_text())
    shim = misbehaving.Shim()
    shim.order("C_Sign", hang=1)
    wait_until(lambda: "does not come back" in gateway.log_file.read_text())
    shim.obey_no_more()
    assert worker.wait(_MOST_SECONDS) == 0


@pytest.mark.long
def test_a_process_of_a_door_whose_token_hangs_is_replaced(gateway: Gateway) -> None:
    door = gateway.start("serve", "application")
    try:
        before = _children(door.pid)
        shim = hang(gateway)
        wait_until(lambda: not before & _children(door.pid))
        shim.obey_no_more()
        wait_until(lambda: (answer := ask(gateway)) is not None and answer.status_code == 200)
        assert door.poll() is None
    finally:
        door.terminate()
        door.wait(_MOST_SECONDS)


def _children(process: int) -> set[int]:
    tasks = Path(f"/proc/{process}/task").iterdir()
    found = {int(each) for task in tasks for each in (task / "children").read_text().split()}
    return {each for each in found if b"spawn_main" in _command(each)}


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return os.fsencode("")
