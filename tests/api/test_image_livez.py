"""Does the health check of the image find a door wherever it listens?"""

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.gateways import free_port
from tests.house.tree import ROOT


class _Alive(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer as a door does."""
        self.send_response(200 if self.path == "/livez" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def listening(request: pytest.FixtureRequest) -> Iterator[int]:
    """Something that listens at the address and answers; gives its port."""
    with http.server.HTTPServer((request.param, 0), _Alive) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def _status(client_bind: str) -> int:
    settings = {
        "COUNTERSIGN_CLIENT_BIND": client_bind,
        "COUNTERSIGN_APPLICATION_BIND": f"127.0.0.1:{free_port()}",
    }
    command = [sys.executable, str(ROOT / "scripts" / "image-livez")]
    return subprocess.run(command, env=settings, check=False).returncode


@pytest.mark.parametrize(
    ("listening", "host"),
    [("127.0.0.2", "127.0.0.2"), ("0.0.0.0", "0.0.0.0"), ("127.0.0.1", "127.0.0.1")],  # noqa: S104
    indirect=["listening"],
)
def test_a_door_is_alive_at_the_address_it_is_bound_to(listening: int, host: str) -> None:
    assert _status(f"{host}:{listening}") == 0


def test_no_door_is_no_life() -> None:
    assert _status(f"127.0.0.1:{free_port()}") == 1
