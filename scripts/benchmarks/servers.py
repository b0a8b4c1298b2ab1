"""What is measured: the gateway's client door and a bare echo, each as many processes as asked, in one folder."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.gateways import ROOT, free_port

_START_SECONDS = 60
_STOP_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where it listens, and its first process."""

    port: int
    process: subprocess.Popen[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A gateway's settings in a folder of its own; plain HTTP on loopback, PINs and data thrown away later."""

    folder: Path
    token_uri: str
    database_url: str
    application_port: int
    client_port: int
    workers: int

    @classmethod
    def build(cls, folder: Path, token_uri: str, database_url: str, workers: int) -> "Stage":
        """Choose free ports; an empty `database_url` means SQLite in the folder."""
        (folder / "data").mkdir()
        return cls(
            folder=folder,
            token_uri=token_uri,
            database_url=database_url or f"sqlite:///{folder}/data/countersign.db",
            application_port=free_port(),
            client_port=free_port(),
            workers=workers,
        )

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every process of this stage."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERSIGN_")}
        return kept | {
            "COUNTERSIGN_DATA_DIR": str(self.folder / "data"),
            "COUNTERSIGN_DATABASE_URL": self.database_url,
            "COUNTERSIGN_TOKEN_URI": self.token_uri,
            "COUNTERSIGN_APPLICATION_BIND": f"127.0.0.1:{self.application_port}",
            "COUNTERSIGN_CLIENT_BIND": f"127.0.0.1:{self.client_port}",
            "COUNTERSIGN_CLIENT_URL": f"http://127.0.0.1:{self.client_port}",
            "COUNTERSIGN_CALLBACK_PRIVATE_ADDRESSES": "true",
            "COUNTERSIGN_WORKERS": str(self.workers),
        }

    def run(self, *words: str) -> str:
        """Run a command of the gateway to its end and return what it printed."""
        command = [sys.executable, "-m", "gateway", *words]
        ran = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )
        if ran.returncode:
            raise SystemExit(f"{' '.join(words)}: {ran.stderr}")
        return ran.stdout

    def add_application(self, policy: dict[str, object] | None = None) -> str:
        """Add an application whose callbacks go into the outbox (nobody delivers them); returns its API key."""
        callback = "https://127.0.0.1:9/callback"
        file = self.folder / "policy.json"
        file.write_text(json.dumps(policy or {}))
        words = ("application", "add", "benchmark", "--callback", callback, "--policy", str(file), "--json")
        shown = self.run(*words)
        return str(json.loads(shown)["api_key"])

    @contextlib.contextmanager
    def everything(self) -> Iterator[Server]:
        """Run both doors in one process, to set up with."""
        with self._serving("gateway", "serve", port=self.client_port, probe="/readyz") as server:
            yield server

    @contextlib.contextmanager
    def client_door(self) -> Iterator[Server]:
        """Run the client door as it is run behind a proxy."""
        with self._serving("gateway", "serve", "client", port=self.client_port, probe="/readyz") as server:
            yield server

    @contextlib.contextmanager
    def echo(self) -> Iterator[Server]:
        """Run the echo with the same settings of the same server."""
        port = free_port()
        with self._serving(
            "scripts.benchmarks.echo", port=port, probe="/livez", COUNTERSIGN_CLIENT_BIND=f"127.0.0.1:{port}"
        ) as server:
            yield server

    @contextlib.contextmanager
    def _serving(self, module: str, *words: str, port: int, probe: str, **changed: str) -> Iterator[Server]:
        log = self.folder / f"{module}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *words],
                cwd=ROOT,
                env=self.environment | changed,
                stdout=output,
                stderr=output,
            )
        try:
            _wait_ready(process, f"http://127.0.0.1:{port}{probe}", log)
            yield Server(port, process)
        finally:
            _stop(process)


def _wait_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), direct.open(url, timeout=5):
            return
        time.sleep(0.05)
    raise SystemExit(f"{url} does not answer.\n{log.read_text()[-3000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
