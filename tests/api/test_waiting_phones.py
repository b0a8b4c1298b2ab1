"""Does a phone that waits for transactions stop seeing any the moment it is replaced, or its user blocked?"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep

import pytest
import sqlalchemy as sa

from gateway.store.tables import events
from tests.counterparts.phone import Phone
from tests.counterparts.phone_line import PROOF_HEADER, Answer
from tests.journeys.stage import Stage

ACTION = "transactions.pending"


def _replace(stage: Stage, phone: Phone) -> None:
    stage.phone(phone.account.user)
    stage.bank.create_transaction(phone.account.user, text="secret", title="For the new phone only")


def _block(stage: Stage, phone: Phone) -> None:
    stage.bank.create_transaction(stage.phone().account.user, text="of somebody else")
    stage.bank.block(phone.account.user)


def _delete(stage: Stage, phone: Phone) -> None:
    stage.bank.delete_user(phone.account.user)


def _until_it_waits(stage: Stage, phone: Phone) -> None:
    """A phone that waits is admitted in the unit of its first look."""
    admitted = sa.select(events.c.number).where(
        events.c.user_id == phone.account.user, events.c.action == ACTION, events.c.type == "client.request"
    )
    end = monotonic() + 15
    while True:
        with stage.database() as connection:
            if connection.execute(admitted).first():
                return
        assert monotonic() < end
        sleep(0.02)


@pytest.mark.parametrize("end", [_replace, _block, _delete])
def test_a_phone_whose_keys_end_while_it_waits_is_answered_like_a_stranger(
    stage: Stage, end: Callable[[Stage, Phone], None]
) -> None:
    phone = stage.phone()
    with ThreadPoolExecutor(1) as waiting:
        asked = waiting.submit(phone.request, ACTION, {"wait": 20})
        _until_it_waits(stage, phone)
        end(stage, phone)
        answer: Answer = asked.result(60)
    assert (answer.status, answer.json()["code"]) == (401, "authentication_failed")
    assert PROOF_HEADER not in answer.headers
    assert b"For the new phone only" not in answer.body
    lines = [(line["type"], line["result"]) for line in stage.recorded(answer)]
    assert lines == [("client.request", "done"), ("client.authentication_failed", "refused")]
    reason = stage.recorded(answer)[-1]["reason"]
    assert "replayed" not in reason


def test_a_phone_that_waits_sees_what_comes(stage: Stage) -> None:
    phone = stage.phone()
    with ThreadPoolExecutor(1) as waiting:
        asked = waiting.submit(phone.request, ACTION, {"wait": 20})
        _until_it_waits(stage, phone)
        name = stage.bank.create_transaction(phone.account.user, text="Pay")["id"]
        answer: Answer = asked.result(60)
    assert answer.proved_under(phone.keys.kauth)
    assert [each["transaction"] for each in answer.json()["transactions"]] == [name]
