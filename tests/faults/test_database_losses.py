"""Does the gateway lose nothing, and come back by itself, when its database is full, restarted or killed under load?"""

import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import database_run, fault_run
from tests.faults.own_postgres import OwnPostgres, programs
from tests.faults.processes import Processes

TIMES = 5
AWAY_SECONDS = 2.0
pytestmark = pytest.mark.long


def tell(report: fault_run.Report, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{report.text()}")  # noqa: T201 - whoever runs it by hand wants to see it
    assert report.faults == []
    assert report.confirmations > TIMES * 8


def test_nothing_is_lost_while_the_disk_under_sqlite_is_full_now_and_then(
    tmp_path: Path, token_uri: str, capsys: pytest.CaptureFixture[str]
):
    gateway = fault_run.make_gateway(tmp_path, token_uri, "")

    def limit(processes: Processes, most_bytes: int) -> None:
        for pid in processes.all_pids():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))

    def fill(processes: Processes) -> None:
        # No file grows, nor does a log; what is there can be read, and written over.
        limit(processes, 4096)
        time.sleep(AWAY_SECONDS)
        limit(processes, resource.RLIM_INFINITY)

    tell(database_run.run(gateway, fill, TIMES), capsys)


@pytest.fixture
def postgres() -> Iterator[OwnPostgres]:
    """A server of its own, because the others of the run must not notice."""
    if programs() is None:
        pytest.skip("no PostgreSQL on this machine")
    server = OwnPostgres()
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.folder)


@pytest.mark.parametrize("how", ["SIGINT", "SIGQUIT", "SIGKILL"])
def test_nothing_is_lost_while_postgresql_is_stopped_and_started(
    how: str, tmp_path: Path, token_uri: str, postgres: OwnPostgres, capsys: pytest.CaptureFixture[str]
):
    gateway = fault_run.make_gateway(tmp_path, token_uri, postgres.url)

    def restart(_: Processes) -> None:
        postgres.stop(how)
        time.sleep(AWAY_SECONDS)
        postgres.start()

    tell(database_run.run(gateway, restart, TIMES), capsys)
