"""How is the demo's gateway run? By its command line, as an operator does, with TLS on free ports of the loopback."""

import json
import os
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Self

import httpx2
import trustme

from tests.counterparts.bank import Bank

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / ".venv" / "bin" / "countersign"
START_SECONDS = 30
STOP_SECONDS = 20
CONTENT_BYTES_MOST = 16 * 1024 * 1024


class GatewayTrouble(Exception):
    """A command of the gateway failed; the text holds what it said."""


class Gateway:
    """Certificates, settings, and the process while it runs. Leaving the `with` statement stops it."""

    def __init__(self, folder: Path, token_uri: str, softhsm_configuration: Path) -> None:
        self.folder, self.log_file = folder, folder / "gateway.log"
        self.ca_file, self.chain_file, self.key_file = (
            folder / f"{name}.pem" for name in ("ca", "tls", "tls-key")
        )
        self._make_certificates()
        self.application_door, self.client_door = (f"127.0.0.1:{free_port()}" for _ in range(2))
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("COUNTERSIGN_", "PYTHON"))
        }
        self._environment = {
            **inherited,
            **self._settings(token_uri),
            "SOFTHSM2_CONF": str(softhsm_configuration),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def _make_certificates(self) -> None:
        """Make an authority, and a certificate of it for this machine."""
        authority = trustme.CA()
        leaf = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(self.ca_file)
        leaf.cert_chain_pems[0].write_to_path(self.chain_file)
        self.key_file.touch(mode=0o600)
        leaf.private_key_pem.write_to_path(self.key_file)

    def _settings(self, token_uri: str) -> dict[str, str]:
        return {
            "COUNTERSIGN_DATA_DIR": str(self.folder / "data"),
            "COUNTERSIGN_TOKEN_URI": token_uri,
            "COUNTERSIGN_ISSUER": "Example Bank",
            "COUNTERSIGN_APPLICATION_BIND": self.application_door,
            "COUNTERSIGN_CLIENT_BIND": self.client_door,
            "COUNTERSIGN_CLIENT_URL": f"https://{self.client_door}",
            "COUNTERSIGN_CLIENT_CA_FILE": str(self.ca_file),
            "COUNTERSIGN_TLS_CERTIFICATE_FILE": str(self.chain_file),
            "COUNTERSIGN_TLS_KEY_FILE": str(self.key_file),
            "COUNTERSIGN_CALLBACK_CA_FILE": str(self.ca_file),
            "COUNTERSIGN_CALLBACK_PRIVATE_ADDRESSES": "true",
            "COUNTERSIGN_CONTENT_BYTES_MOST": str(CONTENT_BYTES_MOST),
        }

    def server_tls(self) -> ssl.SSLContext:
        """TLS for the bank's own server, with the same certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain_file, self.key_file)
        return context

    def run(self, *words: str) -> str:
        """Run one command to its end and return what it printed."""
        ran = subprocess.run(
            [PROGRAM, *words], env=self._environment, capture_output=True, text=True, check=False
        )
        if ran.returncode:
            raise GatewayTrouble(f"countersign {words[0]}: {ran.stderr.strip() or ran.stdout.strip()}")
        return ran.stdout

    def add_application(self, name: str, callback: str) -> dict[str, str]:
        """Add an application; returns its id, API key and callback secret, which are shown this once."""
        words = ("application", "add", name, "--callback", callback, "--json")
        shown: dict[str, str] = json.loads(self.run(*words, "--scope", "keyset:activation-code"))
        return shown

    def bank(self, api_key: str | None = None) -> Bank:
        """Return the bank's side of the application door."""
        return Bank(f"https://{self.application_door}", api_key, ca=self.ca_file)

    def __enter__(self) -> Self:
        """Start `countersign serve` and wait until it is ready."""
        # Not in our group, so that Ctrl-C is for us to pass on; and never without us, however we end.
        command = ["setpriv", "--pdeathsig", "TERM", str(PROGRAM), "serve"]
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait_ready(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        with self.bank() as bank:
            while process.poll() is None and time.monotonic() < deadline:
                try:
                    if bank.ready():
                        return
                except httpx2.TransportError:
                    time.sleep(0.05)
        raise GatewayTrouble(f"countersign serve did not get ready:\n{self.log_file.read_text()[-2000:]}")

    def stop(self) -> int | None:
        """Tell the process to stop and wait for it; returns its exit status, None if none was running."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.terminate()
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def free_port() -> int:
    """Return a port of the loopback that is free now."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
