"""Does a process that is told to stop finish what it was asked?"""

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.counterparts.event_reader import following
from tests.gateways import Gateway
from tests.journeys.stage import Stage


@pytest.fixture
def door(stage: Stage, tmp_path: Path) -> Iterator[Gateway]:
    """The bank's door as a process of its own, beside the running gateway."""
    first = stage.gateway
    made = Gateway(tmp_path, first.token_uri, first.authority, first.database_url)
    made.extra = {"COUNTERSIGN_DATA_DIR": str(first.folder / "data")}
    made.process = made.start("serve", "application")
    yield made
    made.stop()


@pytest.mark.long
def test_a_long_poll_under_way_is_answered_before_a_stopped_door_ends(stage: Stage, door: Gateway):
    bank = door.bank(stage.keys["api_key"])
    transaction = stage.bank.create_transaction(stage.phone().account.user, text="Pay")["id"]
    answers = []
    asking = threading.Thread(target=lambda: answers.append(bank.transaction(transaction, wait=8)["status"]))
    asking.start()
    time.sleep(1)
    status = door.stop()
    asking.join()
    bank.close()
    assert answers == ["pending"]
    assert status == 0


@pytest.mark.long
def test_a_stream_of_events_ends_cleanly_when_a_door_is_stopped(stage: Stage, door: Gateway):
    ended = []

    def follow() -> None:
        with door.bank(stage.keys["api_key"]) as bank, following(bank) as reader:
            ended.append("open")
            for _ in reader.events():
                pass
            ended.append("end")

    following_it = threading.Thread(target=follow)
    following_it.start()
    while "open" not in ended:
        time.sleep(0.01)
    status = door.stop()
    following_it.join()
    assert ended == ["open", "end"]
    assert status == 0


@pytest.mark.long
def test_a_caller_who_vanishes_without_a_goodbye_is_no_error_of_the_door(door: Gateway):
    trusting = ssl.create_default_context(cafile=str(door.authority.ca_file))
    with (
        socket.create_connection(("127.0.0.1", door.application_port)) as plain,
        trusting.wrap_socket(plain, server_hostname="127.0.0.1") as caller,
    ):
        caller.sendall(b"GET /livez HTTP/1.1\r\nHost: gateway\r\n\r\n")
        assert caller.recv(12) == b"HTTP/1.1 200"
        assert door.stop() == 0
    lines = [json.loads(line) for line in door.log_file.read_text().splitlines()]
    assert [line for line in lines if line["level"] in ("error", "critical")] == []
