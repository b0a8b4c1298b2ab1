"""How does a test get a PostgreSQL server that it may stop and kill? By the script that makes the run's own."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from tests.faults.processes import children
from tests.gateways import ROOT

_START_SECONDS = 60


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, the newest if there are several; None without any."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


class OwnPostgres:
    """One server in a folder of its own, reached by a socket there."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.home = self.folder / "postgres"
        self.url = f"postgresql+psycopg://countersign@/postgres?host={self.home}/socket"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, the first time with an empty cluster, and wait until it answers."""
        with (self.folder / "postgres.log").open("ab") as log:
            command = [str(ROOT / "scripts" / "test-postgres"), str(programs()), str(self.home)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        while True:
            try:
                with engine.connect():
                    return
            except sa.exc.OperationalError:
                over = self._process.poll() is not None or time.monotonic() > deadline
                assert not over, (self.folder / "postgres.log").read_text()
                time.sleep(0.05)

    def stop(self, how: str = "SIGQUIT") -> None:
        """Stop it: SIGINT ends connections orderly, SIGQUIT at once, SIGKILL asks nobody. The cluster stays."""
        if self._process is None or self._process.poll() is not None:
            return
        if how == "SIGKILL":  # with all its processes, as by the end of a machine
            for pid in [self._process.pid, *children(self._process.pid)]:
                _kill(pid)
        else:
            self._process.send_signal(signal.Signals[how])
        self._process.wait(_START_SECONDS)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
