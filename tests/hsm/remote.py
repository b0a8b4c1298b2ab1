"""How does a test get a device that can be killed, stopped and cut off, as a network HSM can?

SoftHSM runs in a process of its own behind `p11-kit server`; each client process gets its own child of the
server. Killing that child is the loss of the device, stopping it is a device that hangs, and ending the server
is an unreachable one. The client's module reads the server's address once per process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

CLIENT = next(
    (str(path) for path in Path("/usr/lib").glob("*/pkcs11/p11-kit-client.so")),
    "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so",
)
_ADDRESS = "P11_KIT_SERVER_ADDRESS"
_LISTENING = "00010000"  # among the flags in /proc/net/unix


class Remote:
    """A token of SoftHSM behind a server; `uri` names it as clients see it."""

    def __init__(self, directory: Path, token_uri: str, softhsm_conf: Path | None = None) -> None:
        path, _, query = token_uri.partition("?")
        module = query.partition("module-path=")[2].partition("&")[0]
        self.uri = token_uri.replace(module, CLIENT)
        self.socket = directory / "hsm.sock"
        self._command = ["p11-kit", "server", "--foreground", "--provider", module]
        self._command += ["--name", str(self.socket), path]
        self._environment = dict(os.environ)
        if softhsm_conf is not None:
            self._environment["SOFTHSM2_CONF"] = str(softhsm_conf)
        self._server: subprocess.Popen[bytes] | None = None
        os.environ[_ADDRESS] = f"unix:path={self.socket}"

    def start(self) -> None:
        """Make the device reachable."""
        self.socket.unlink(missing_ok=True)
        self._server = subprocess.Popen(
            self._command,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while not self._listens():
            assert self._server.poll() is None, "p11-kit server ended"
            time.sleep(0.005)

    def _listens(self) -> bool:
        """Say whether somebody listens at the socket: its file is there a moment before."""
        rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
        return any(row[3] == _LISTENING and row[7:] == [str(self.socket)] for row in rows)

    def stop(self) -> None:
        """Make the device unreachable, and lose whoever is connected."""
        if self._server is not None:
            for child in self.children():
                _signal(child, signal.SIGKILL)
            self._server.kill()
            self._server.wait()
            self._server = None

    def children(self) -> list[int]:
        """Return the processes that serve clients."""
        assert self._server is not None
        text = Path(f"/proc/{self._server.pid}/task/{self._server.pid}/children").read_text()
        return [int(number) for number in text.split()]

    def send(self, number: signal.Signals) -> int:
        """Send a signal to every process that serves a client; returns how many there were."""
        return self.send_to(self.children(), number)

    def send_to(self, children: list[int], number: signal.Signals) -> int:
        """Send a signal to some of them; returns how many were still there."""
        return sum(_signal(child, number) for child in children)


def _signal(process: int, number: signal.Signals) -> bool:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return False
    return True
