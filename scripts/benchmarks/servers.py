"""What is measured: the gateway's doors and a bare echo, each as many processes as asked, in one folder."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.gateways import ROOT, free_port

SERVERS = ("hypercorn", "uvicorn", "granian")
_ECHO = "scripts.benchmarks.echo:app"
_START_SECONDS = 120
_STOP_SECONDS = 40
_SCOPES = ("user:unblock", "keyset:activation-code")


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
    application_port: int  # of the setting up; who is measured gets a port of its own
    client_port: int
    workers: int
    server: str = "hypercorn"
    cores: tuple[int, ...] = ()  # what servers may run on; none: on any
    extra: tuple[tuple[str, str], ...] = ()  # settings besides

    @classmethod
    def build(
        cls,
        folder: Path,
        token_uri: str,
        database_url: str = "",
        workers: int = 1,
        *,
        server: str = "hypercorn",
        cores: Sequence[int] = (),
    ) -> "Stage":
        """Make the folder of its data; an empty `database_url` means SQLite in there."""
        (folder / "data").mkdir()
        return cls(
            folder=folder,
            token_uri=token_uri,
            database_url=database_url or f"sqlite:///{folder}/data/countersign.db",
            application_port=free_port(),
            client_port=free_port(),
            workers=workers,
            server=server,
            cores=tuple(cores),
        )

    def with_settings(self, **settings: str) -> "Stage":
        """Return it with further settings, by the lower-case end of their names."""
        named = tuple((f"COUNTERSIGN_{name.upper()}", value) for name, value in settings.items())
        return replace(self, extra=(*self.extra, *named))

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
            **dict(self.extra),
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
        words = ["application", "add", "benchmark", "--callback", callback, "--policy", str(file), "--json"]
        for scope in _SCOPES:
            words += ["--scope", scope]
        return str(json.loads(self.run(*words))["api_key"])

    @contextlib.contextmanager
    def everything(self) -> Iterator[Server]:
        """Run both doors in one process, to set up with."""
        with self._running(["gateway", "serve"], self.client_port, "/readyz", "client") as server:
            yield server

    @contextlib.contextmanager
    def application_door(self) -> Iterator[Server]:
        """Run the bank's door."""
        with self._door("application") as server:
            yield server

    @contextlib.contextmanager
    def client_door(self) -> Iterator[Server]:
        """Run the phones' door as it is run behind a proxy."""
        with self._door("client") as server:
            yield server

    @contextlib.contextmanager
    def echo(self) -> Iterator[Server]:
        """Run the echo with the same settings of the same server."""
        port = free_port()
        command = _serving(self.server, _ECHO, port, self.workers) or ["scripts.benchmarks.echo"]
        with self._running(command, port, "/livez", "client") as server:
            yield server

    @contextlib.contextmanager
    def _door(self, role: str) -> Iterator[Server]:
        port = free_port()
        app = f"gateway.serving:{role}_asgi"
        command = _serving(self.server, app, port, self.workers) or ["gateway", "serve", role]
        with self._running(command, port, "/readyz", role) as server:
            yield server

    @contextlib.contextmanager
    def _running(self, words: list[str], port: int, probe: str, role: str) -> Iterator[Server]:
        log = self.folder / f"{words[0]}-{port}.log"
        bind = {f"COUNTERSIGN_{role.upper()}_BIND": f"127.0.0.1:{port}"}
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=ROOT,
                env=self.environment | bind,
                stdout=output,
                stderr=output,
            )
        if self.cores:
            os.sched_setaffinity(process.pid, self.cores)  # before it has children or threads
        try:
            _wait_ready(process, f"http://127.0.0.1:{port}{probe}", log)
            yield Server(port, process)
        finally:
            _stop(process)


def _serving(server: str, app: str, port: int, workers: int) -> list[str]:
    """Return how another server than hypercorn is started; nothing for hypercorn, which the gateway starts itself."""
    place = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
    if server == "uvicorn":
        fast = ["--loop", "uvloop", "--http", "httptools", "--lifespan", "on", "--no-access-log"]
        return ["uvicorn", app, *place, *fast, "--log-level", "warning"]
    if server == "granian":
        return ["granian", "--interface", "asgi", *place, "--no-access-log", "--log-level", "warning", app]
    return []


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
