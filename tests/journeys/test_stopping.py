"""Does a process that is told to stop finish what it was asked?"""

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
