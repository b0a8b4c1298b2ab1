"""Does a bank that cannot receive callbacks learn everything from the stream of events, also when it breaks off?"""

import contextlib
import time
from itertools import islice

import pytest

from tests.counterparts.event_reader import PATH, following
from tests.journeys.stage import DATABASES, Json, Stage

# Each kind of database has its turn in tests/scenarios/test_event_feed.py.
pytestmark = pytest.mark.parametrize("stage", DATABASES[-1:], indirect=True, scope="session")
STREAMS_MOST = 10
OPEN = 200


def _until(events: list[Json], type_: str) -> bool:
    return bool(events) and events[-1]["type"] == type_


def test_a_bank_learns_from_the_stream_what_became_of_its_transaction(stage: Stage) -> None:
    phone = stage.phone()
    user = phone.account.user
    with following(stage.bank, user=user) as reader:
        shown = stage.ask(phone)
        phone.approve(shown)
        heard: list[Json] = []
        for event in reader.events():
            heard.append(event)
            if _until(heard, "transaction.settled"):
                break
    assert heard[-1]["transaction"] == shown.transaction
    assert stage.bank.transaction(shown.transaction)["status"] == "confirmed"
    assert heard == [event for event in stage.events(user=user) if event["number"] >= heard[0]["number"]]
    assert {"transaction.created", "client.request"} <= {event["type"] for event in heard}


def test_a_bank_that_was_cut_off_goes_on_after_the_last_event_it_got(stage: Stage) -> None:
    user = stage.user()
    first = stage.events(user=user)[0]
    heard: list[Json] = []
    last = str(first["number"] - 1)
    for _ in range(3):
        with following(stage.bank, last_id=last, after=10**6 if heard else 0, user=user) as reader:
            stage.bank.block(user)
            stage.bank.unblock(user)
            heard += islice(reader.events(), 2)
            last = reader.last_id
    with following(stage.bank, after=int(last), user=user) as reader:
        heard.append(next(reader.events()))
    assert heard == stage.events(user=user)
    assert len(heard) == 7


def test_a_stream_begins_with_a_number_from_which_it_can_be_taken_up(stage: Stage) -> None:
    user = stage.user()
    with following(stage.bank, user=user) as reader:
        kind, _ = next(reader._dispatched())
        assert kind == "position"
        last = reader.last_id
    stage.bank.block(user)
    with following(stage.bank, last_id=last, user=user) as reader:
        assert next(reader.events())["type"] == "user.blocked"


def test_nobody_hears_of_another_bank(stage: Stage) -> None:
    with following(stage.foreign) as reader:
        next(reader._dispatched())
        stage.user()
        own = stage.user(stage.foreign)
        assert next(reader.events())["user"] == own


@pytest.mark.parametrize("last_id", ["", "x", "-1", "1,2", "999999999999999"])
def test_a_number_that_no_event_has_is_refused(stage: Stage, last_id: str) -> None:
    answer = stage.bank.request("GET", PATH, headers={"Last-Event-ID": last_id})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


def test_asking_for_the_headers_alone_opens_no_stream(stage: Stage) -> None:
    answer = stage.bank.request("HEAD", PATH)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")


def test_there_are_no_more_streams_than_there_may_be_and_who_hangs_up_makes_room(stage: Stage) -> None:
    # A bank of its own: the door may not have noticed yet that another hung up.
    bank = stage.bank_with(validity_days=364)
    with contextlib.ExitStack() as held:
        for _ in range(STREAMS_MOST):
            held.enter_context(following(bank))
        refused = bank.request("GET", PATH)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
        with following(stage.bank) as other:
            assert next(other._dispatched())[0] == "position"
    end = time.monotonic() + 30
    while bank.request("HEAD", PATH).status_code != OPEN:
        assert time.monotonic() < end
