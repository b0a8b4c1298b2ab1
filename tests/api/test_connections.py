"""Does a refused request leave its connection, and the process, as they were?"""

import ssl
import time
from pathlib import Path

import httpx2
import pytest

from tests.journeys.stage import Stage

LARGE = 12 * 1024 * 1024  # more than the sockets and queues in between hold


def _trust(stage: Stage) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=stage.gateway.authority.ca_file)


def _descriptors(stage: Stage) -> int:
    process = stage.gateway.process
    assert process is not None
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


@pytest.mark.parametrize("protocol", ["with a length", "chunked"])
def test_large_requests_that_are_refused_unread_are_answered_and_leave_nothing_open(
    stage: Stage, protocol: str
) -> None:
    before = _descriptors(stage)
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
    end = time.monotonic() + 10
    while _descriptors(stage) > before + 2 and time.monotonic() < end:
        time.sleep(0.1)
    assert _descriptors(stage) <= before + 2  # the database may have opened a connection meanwhile


@pytest.mark.parametrize("path", ["/client/v1/transactions.approve/", "//evil.example/", "/livez/"])
def test_no_answer_sends_the_caller_elsewhere(stage: Stage, path: str) -> None:
    for url in (stage.gateway.client_url, stage.gateway.application_url):
        with httpx2.Client(verify=_trust(stage), trust_env=False) as http:
            answer = http.post(url + path, content=b"{}", headers={"host": "evil.example"})
        assert answer.status_code == 404
        assert "location" not in answer.headers
