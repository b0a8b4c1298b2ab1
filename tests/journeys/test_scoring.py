"""Does a bank that has its answers scored read over HTTP what speaks against one, and why it was refused?"""

import pytest

from tests.counterparts.bank import BankRefused
from tests.counterparts.phone_line import Refused
from tests.journeys.stage import Stage

SCORING = {"weights": {"new_device": 0, "quick": 0, "night": 0, "rooted": 900}, "refuse_above": "medium"}


def test_a_bank_reads_the_score_of_an_answer_and_why_one_was_refused(stage: Stage) -> None:
    bank = stage.bank_with(scoring=SCORING)
    assert bank.policy()["policy"]["scoring"]["weights"]["rooted"] == 900
    phone = stage.phone(bank=bank)
    shown = stage.ask(phone, bank=bank, confirmation={"scoring": "refuse_above_low"})
    phone.approve(shown)
    found = bank.transaction(shown.transaction)
    assert (found["scoring"], found["confirmation"]["scoring"]["level"]) == ("refuse_above_low", "low")
    shown = stage.ask(phone, bank=bank)
    phone.device = {"uv": "password", "rooted": True}
    with pytest.raises(Refused) as refused:
        phone.approve(shown)
    assert (refused.value.status, refused.value.code) == (403, "score_too_high")
    found = bank.transaction(shown.transaction)
    assert (found["status"], found["reason"]) == ("cancelled", "score_too_high")
    assert [each["factor"] for each in found["attempts"][0]["scoring"]["factors"]] == ["rooted"]
    with pytest.raises(BankRefused) as denied:
        stage.ask(phone, bank=bank, confirmation={"scoring": "off"})
    assert denied.value.code == "not_allowed_by_policy"
