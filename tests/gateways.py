"""How do tests get a running gateway: a real process, with TLS, on a real token and a real database.

The process is the command line as an operator starts it, but for its imports, which tests/forking.py spares it;
nothing of it runs inside the test.
"""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx2
import sqlalchemy as sa
import trustme

from tests.counterparts.bank import Bank
from tests.forking import RUN_SECONDS, Forked, run_forked

ROOT = Path(__file__).parents[1]
START_SECONDS = 120
Process = Forked | subprocess.Popen[bytes]
RESIDENCY = os.environ.get("TEST_RESIDENCY")  # of applications whose policy is silent about it
EXTRA_SCOPES = (
    "policy:write", "user:unblock", "user:settings", "user:delete", "device:delete", "keyset:activation-code",
)  # fmt: skip


def _held_port(port: int = 0) -> socket.socket:
    """Hold a port of the loopback, any by default: a server may listen there, and the system gives it to nobody else.

    The socket is bound and never listens, so whoever calls is refused; servers share a port that is held like this.
    """
    held = socket.socket()
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", port))
    except OSError:
        held.close()
        raise
    return held


def free_port(number: int = 1) -> int:
    """Return a port of the loopback that is free until this process ends, the first of so many in a row."""
    while True:
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            first = held.enter_context(_held_port())
            port = int(first.getsockname()[1])
            others = [held.enter_context(_held_port(port + further)) for further in range(1, number)]
            for each in (first, *others):
                each.detach()  # stays open
            return port


def _run_anew(words: Sequence[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", *words]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )


def _begin_anew(
    words: Sequence[str], environment: dict[str, str], out: IO[bytes], err: IO[bytes]
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gateway", *words]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=err)


@dataclass(frozen=True)
class Authority:
    """A CA of one test run, and a certificate of it for the loopback."""

    ca_file: Path
    chain_file: Path
    key_file: Path

    @classmethod
    def make(cls, folder: Path) -> "Authority":
        """Make CA and certificate in the folder."""
        ca = trustme.CA()
        leaf = ca.issue_cert("127.0.0.1", "localhost")
        made = cls(folder / "ca.pem", folder / "chain.pem", folder / "key.pem")
        ca.cert_pem.write_to_path(made.ca_file)
        leaf.cert_chain_pems[0].write_to_path(made.chain_file)
        leaf.private_key_pem.write_to_path(made.key_file)
        made.key_file.chmod(0o600)
        return made


@dataclass
class Gateway:
    """One gateway: settings, folder, and the process while it runs."""

    folder: Path
    token_uri: str
    authority: Authority
    database_url: str = ""
    extra: dict[str, str] = field(default_factory=dict)
    process: Process | None = None
    anew: bool = False  # each command is a program of its own from its first import on

    def __post_init__(self) -> None:
        held = [_held_port(), _held_port()]
        self.application_port, self.client_port = (int(each.getsockname()[1]) for each in held)
        for each in held:
            weakref.finalize(self, os.close, each.detach())
        self.log_file = self.folder / "gateway.log"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every command of this gateway."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERSIGN_")}
        return {
            **kept,
            "COUNTERSIGN_DATA_DIR": str(self.folder / "data"),
            "COUNTERSIGN_DATABASE_URL": self.database_url,
            "COUNTERSIGN_TOKEN_URI": self.token_uri,
            "COUNTERSIGN_APPLICATION_BIND": f"127.0.0.1:{self.application_port}",
            "COUNTERSIGN_CLIENT_BIND": f"127.0.0.1:{self.client_port}",
            "COUNTERSIGN_CLIENT_URL": self.client_url,
            "COUNTERSIGN_CLIENT_CA_FILE": str(self.authority.ca_file),
            "COUNTERSIGN_CALLBACK_CA_FILE": str(self.authority.ca_file),
            "COUNTERSIGN_CALLBACK_PRIVATE_ADDRESSES": "true",
            # All of a test's phones have one address, and failing is what many of them are there for.
            "COUNTERSIGN_FAILED_REQUESTS_PER_MINUTE": "1000000",
            "COUNTERSIGN_TLS_CERTIFICATE_FILE": str(self.authority.chain_file),
            "COUNTERSIGN_TLS_KEY_FILE": str(self.authority.key_file),
            **self.extra,
        }

    @property
    def application_url(self) -> str:
        """Where the bank's door is."""
        return f"https://127.0.0.1:{self.application_port}"

    @property
    def client_url(self) -> str:
        """Where the phone's door is."""
        return f"https://127.0.0.1:{self.client_port}"

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of the gateway to its end."""
        run = _run_anew if self.anew else run_forked
        ended = run(words, self.environment)
        assert ended.returncode == 0 or not check, f"countersign {words[0]} said: {ended.stderr[-2000:]}"
        return ended

    def start(self, *words: str, wait: bool = True) -> Process:
        """Start a process of the gateway, by default everything in one, and wait until it is ready."""
        with self.log_file.open("ab") as log:
            begin = _begin_anew if self.anew else Forked
            process = begin(words or ("serve",), self.environment, log, log)
        self.process = self.process if words else process
        if wait:
            self.wait_ready(process)
        return process

    def wait_ready(self, process: Process) -> None:
        """Wait until the bank's door says that it is ready."""
        deadline = time.monotonic() + START_SECONDS
        with httpx2.Client(verify=False, trust_env=False) as http:
            while time.monotonic() < deadline:
                assert process.poll() is None, self.log_file.read_text()[-4000:]
                with contextlib.suppress(httpx2.HTTPError):
                    if http.get(f"{self.application_url}/readyz").status_code == 200:
                        return
                time.sleep(0.05)
        raise TimeoutError(self.log_file.read_text()[-4000:])

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int | None:
        """Stop the process and return its exit status."""
        if self.process is None:
            return None
        self.process.send_signal(how)
        try:
            status = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait(10)
        self.process = None
        return status

    def add_application(
        self, name: str | None = None, *, callback: str | None = None, policy: dict[str, Any] | None = None
    ) -> dict[str, str]:
        """Add an application with every scope and return what is shown once."""
        words = ["application", "add", name or f"bank {secrets.token_hex(4)}", "--json"]
        for scope in EXTRA_SCOPES:
            words += ["--scope", scope]
        if callback is not None:
            words += ["--callback", callback]
        if RESIDENCY is not None:
            policy = {"residency": RESIDENCY, **(policy or {})}
        if policy is not None:
            policy_file = self.folder / f"policy-{secrets.token_hex(4)}.json"
            policy_file.write_text(json.dumps(policy))
            words += ["--policy", str(policy_file)]
        shown: dict[str, str] = json.loads(self.run(*words).stdout)
        return shown

    def bank(self, api_key: str) -> Bank:
        """Return a bank at this gateway."""
        return Bank(self.application_url, api_key, ca=self.authority.ca_file)


@contextlib.contextmanager
def fresh_database(kind: str, template: str | None = None) -> Iterator[str]:
    """Give the URL of a database of the test's own: an own one on the PostgreSQL of the run, or none for SQLite.

    It is empty, or a copy of the database named `template`, to which nobody is connected.
    """
    if kind == "sqlite":
        yield ""
        return
    server = os.environ["TEST_POSTGRES_URL"]
    name = f"test_{secrets.token_hex(8)}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        copied = "" if template is None else f" TEMPLATE {template} STRATEGY FILE_COPY"
        connection.execute(sa.text(f"CREATE DATABASE {name}{copied}"))
    try:
        # As a string with its password, if it has one: the run's own throw-away server.
        yield sa.make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
