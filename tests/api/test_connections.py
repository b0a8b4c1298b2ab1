"""Does a refused request leave its connection, and the process, as they were?"""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.journeys.stage import Stage

LARGE = 12 * 1024 * 1024  # more than the sockets and queues in between hold


def _trust(stage: Stage) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=stage.gateway.authority.ca_file)


def _opened(stage: Stage) -> int:
    """How much the gateway has open at its doors and in files, whatever it opens to database and receiver meanwhile."""
    gateway = stage.gateway
    assert gateway.process is not None
    doors = {f"{port:04X}" for port in (gateway.application_port, gateway.client_port)}
    process = Path(f"/proc/{gateway.process.pid}")
    connections = [line.split() for line in (process / "net" / "tcp").read_text().splitlines()[1:]]
    at_doors = {f"socket:[{each[9]}]" for each in connections if each[1].partition(":")[2] in doors}
    return sum(
        name in at_doors if name.startswith("socket:") else "countersign.db" not in name
        for name in _names(process / "fd")
    )


def _names(descriptors: Path) -> Iterator[str]:
    for each in descriptors.iterdir():
        with contextlib.suppress(OSError):  # it was closed
            yield str(each.readlink())


def _expect_no_more_open(stage: Stage, before: int) -> None:
    end = time.monotonic() + 20
    while _opened(stage) > before:
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("protocol", ["with a length", "chunked"])
def test_large_requests_that_are_refused_unread_are_answered_and_leave_nothing_open(
    stage: Stage, protocol: str
) -> None:
    before = _opened(stage)
    refused = {
        f"{stage.gateway.client_url}/client/v1/transactions.pending": 413,
        f"{stage.gateway.client_url}/client/v1/unknown": 404,
        f"{stage.gateway.application_url}/v1/transactions": 401,
        f"{stage.gateway.application_url}/nothing": 404,
    }
    with httpx2.Client(verify=_trust(stage), trust_env=False, timeout=20) as http:
        for url, status in refused.items():
            content = (
                bytes(LARGE) if protocol == "with a length" else (bytes(65536) for _ in range(LARGE // 65536))
            )
            answer = http.post(url, content=content, headers={"content-type": "application/json"})
            assert answer.status_code == status
            assert http.get(f"{answer.url.copy_with(path='/livez')}").status_code == 200
    _expect_no_more_open(stage, before)


def test_a_caller_who_sends_no_more_once_refused_gets_the_whole_answer(stage: Stage) -> None:
    before, url = _opened(stage), httpx2.URL(stage.gateway.application_url)
    head = f"POST /v1/contents HTTP/1.1\r\nhost: x\r\ncontent-length: {LARGE}\r\n\r\n%PDF"
    with (
        socket.create_connection((url.host, url.port), timeout=10) as plain,
        _trust(stage).wrap_socket(plain, server_hostname=url.host) as line,
    ):
        assert _opened(stage) > before  # this one
        line.sendall(head.encode())
        answer = b"".join(iter(lambda: line.recv(65536), b""))  # until the gateway closes
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b'"code":"unauthenticated"' in answer
    _expect_no_more_open(stage, before)


@pytest.mark.parametrize("path", ["/client/v1/transactions.approve/", "//evil.example/", "/livez/"])
def test_no_answer_sends_the_caller_elsewhere(stage: Stage, path: str) -> None:
    for url in (stage.gateway.client_url, stage.gateway.application_url):
        with httpx2.Client(verify=_trust(stage), trust_env=False) as http:
            answer = http.post(url + path, content=b"{}", headers={"host": "evil.example"})
        assert answer.status_code == 404
        assert "location" not in answer.headers
