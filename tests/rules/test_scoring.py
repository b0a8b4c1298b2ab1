"""What speaks against an answer, how much, and what follows: each factor by itself, and the sums."""

import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.refusals import Refusal
from gateway.rules import policy
from gateway.rules.scoring import Observed, is_above, level_of, score
from gateway.rules.scoring_policy import (
    FACTORS,
    NUMBERS,
    Factor,
    Level,
    Scoring,
    ScoringSetting,
    is_scored,
    limit_of,
    require_allowed,
)

NOW = datetime(2030, 6, 1, 12, tzinfo=UTC)
PHONE = {"uv": "password", "model": "Pixel 9", "os": "Android 16"}
PLAIN = Observed(
    now=NOW,
    device=PHONE,
    asked_fields=("model", "os"),
    address="192.0.2.7",
    direct=True,
    offline=False,
    bound=True,
    registered_at=NOW - timedelta(days=30),
    created_at=NOW - timedelta(minutes=1),
    failures=0,
    earlier_device=PHONE,
    earlier_addresses=("198.51.100.1", "192.0.2.200"),
    earlier_answers=(),
)
SCORING = Scoring()


def _found(**changed: Any) -> dict[str, int]:
    found = score(SCORING, replace(PLAIN, **changed))
    assert found.value == sum(each.points for each in found.findings)
    assert all(each.why for each in found.findings)
    return {str(each.factor): each.points for each in found.findings}


def test_nothing_speaks_against_a_plain_answer():
    assert _found() == {}
    assert (score(SCORING, PLAIN).value, score(SCORING, PLAIN).level) == (0, Level.LOW)


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"device": {"model": "Pixel 9"}}, {"device_data_missing": 100, "os_changed": 50}),
        ({"device": {"model": "Pixel 9"}, "earlier_device": {}}, {"device_data_missing": 100}),
        ({"device": {"os": "Android 16"}, "asked_fields": ()}, {"model_changed": 300}),
        ({"device": PHONE | {"model": None}}, {"model_changed": 300}),
        ({"device": PHONE | {"model": "Pixel 3"}}, {"model_changed": 300}),
        ({"device": PHONE | {"os": "Android 17"}}, {"os_changed": 50}),
        ({"device": PHONE | {"os": "x"}, "earlier_device": None}, {}),
        ({"device": PHONE | {"rooted": True}}, {"rooted": 400}),
        ({"device": PHONE | {"rooted": False}}, {}),
        ({"bound": False}, {"not_bound": 100}),
        ({"offline": True, "direct": False, "device": {}, "address": "203.0.113.1"}, {"offline": 200}),
        ({"direct": False, "device": {"model": "x"}, "address": "203.0.113.1"}, {}),
        ({"address": "203.0.113.1"}, {"address_changed": 150}),
        ({"address": "2001:db8::1", "earlier_addresses": ("2001:db8::2",)}, {}),
        ({"address": "2001:db8:0:1::1", "earlier_addresses": ("2001:db8::2",)}, {"address_changed": 150}),
        ({"address": "203.0.113.1", "earlier_addresses": ()}, {}),
        ({"address": None}, {}),
        ({"registered_at": NOW - timedelta(hours=23, minutes=59)}, {"new_device": 150}),
        ({"registered_at": NOW - timedelta(hours=24)}, {}),
        ({"registered_at": None}, {"new_device": 150}),
        ({"created_at": NOW - timedelta(seconds=4.9)}, {"quick": 150}),
        ({"created_at": NOW - timedelta(seconds=5)}, {}),
        ({"created_at": None}, {}),
        ({"failures": 3}, {"failures": 300}),
        ({"earlier_answers": [NOW - timedelta(minutes=9)] * 10}, {"many_answers": 150}),
        ({"earlier_answers": [NOW - timedelta(minutes=9)] * 9 + [NOW - timedelta(minutes=10)]}, {}),
    ],
)  # fmt: skip
def test_each_factor_speaks_when_its_sentence_says_so(changed: dict[str, Any], found: dict[str, int]):
    assert _found(**changed) == found


@pytest.mark.parametrize(
    ("begin", "end", "hour", "night"),
    [(23, 5, 23, True), (23, 5, 4, True), (23, 5, 5, False), (23, 5, 12, False), (1, 4, 3, True), (1, 4, 4, False),
     (0, 0, 0, False)],
)  # fmt: skip
def test_the_night_is_between_two_hours_of_utc(begin: int, end: int, hour: int, night: bool):  # noqa: FBT001
    at = NOW.replace(hour=hour)
    seen = replace(PLAIN, now=at, created_at=None, registered_at=at - timedelta(days=9))
    assert (score(Scoring(night_from=begin, night_until=end), seen).value > 0) is night


def test_points_add_up_to_a_level_and_to_no_more_than_a_thousand():
    seen = replace(PLAIN, device=PHONE | {"rooted": True, "model": "x"}, failures=4)
    found = score(SCORING, seen)
    assert (found.value, found.level) == (1000, Level.HIGH)
    assert score(Scoring(weights=dict.fromkeys(FACTORS, 0)), seen).value == 0
    assert [level_of(SCORING, value) for value in (299, 300, 599, 600)] == ["low", "medium", "medium", "high"]


@given(st.dictionaries(st.sampled_from(sorted(Factor)), st.integers(0, 1000)), st.integers(0, 4))
def test_more_weight_never_makes_a_score_less(weights: dict[str, int], failures: int):
    seen = replace(PLAIN, failures=failures, bound=False, address="203.0.113.1")
    none = dict.fromkeys(map(str, Factor), 0)
    lighter = score(Scoring(weights=none | {name: weight // 2 for name, weight in weights.items()}), seen)
    heavier = score(Scoring(weights=none | weights), seen)
    assert 0 <= lighter.value <= heavier.value <= 1000


@pytest.mark.parametrize(
    ("level", "limit", "above"),
    [("high", "medium", True), ("medium", "medium", False), ("medium", "low", True), ("low", "low", False),
     ("high", None, False)],
)  # fmt: skip
def test_a_level_is_above_a_limit_or_not(level: str, limit: str | None, above: bool):  # noqa: FBT001
    assert is_above(Level(level), None if limit is None else Level(limit)) is above


# policy, what the transaction says: whether it is allowed, scored, and above which level refused
SETTINGS = """
none    policy               yes  no   -
none    off                  no   no   -
none    refuse_above_low     no   no   -
-       policy               yes  yes  -
-       off                  yes  no   -
-       refuse_above_low     yes  yes  low
-       refuse_above_medium  yes  yes  medium
medium  policy               yes  yes  medium
medium  off                  no   yes  medium
medium  refuse_above_low     yes  yes  low
medium  refuse_above_medium  yes  yes  medium
low     policy               yes  yes  low
low     off                  no   yes  low
low     refuse_above_low     yes  yes  low
low     refuse_above_medium  no   yes  low
"""


@pytest.mark.parametrize("line", SETTINGS.strip().splitlines())
def test_a_transaction_may_be_stricter_than_the_policy_and_never_looser(line: str):
    said, setting, allowed, scored, limit = line.split()
    scoring = None if said == "none" else Scoring(refuse_above=None if said == "-" else Level(said))
    assert is_scored(scoring, ScoringSetting(setting)) is (scored == "yes")
    if scoring is not None:
        assert limit_of(scoring, ScoringSetting(setting)) == (None if limit == "-" else limit)
    may = (
        contextlib.nullcontext()
        if allowed == "yes"
        else pytest.raises(Refusal, match="not_allowed_by_policy")
    )
    with may:
        require_allowed(scoring, ScoringSetting(setting))


@pytest.mark.parametrize(
    "value",
    [
        [], "high", {"weight": {}}, {"weights": []}, {"weights": {"moon": 1}}, {"weights": {"quick": 1001}},
        {"weights": {"quick": True}}, {"refuse_above": "high"}, {"refuse_above": []}, {"medium_from": 0},
        {"medium_from": 600, "high_from": 599}, {"night_from": 24}, {"many_answers": 21}, {"quick_seconds": 1.5},
    ],
)  # fmt: skip
def test_scoring_that_is_odd_is_refused(value: object):
    with pytest.raises(Refusal) as refused:
        policy.from_json({"scoring": value})
    assert [error["pointer"] for error in refused.value.errors] == ["/scoring"]


def test_scoring_survives_being_stored_and_what_is_not_named_has_its_default():
    made = policy.from_json(
        {"scoring": {"weights": {"quick": 7}, "refuse_above": "medium", "high_from": 700}}
    )
    assert made.scoring is not None
    assert made.scoring.weights == {str(name): weight for name, (weight, _, _) in FACTORS.items()} | {
        "quick": 7
    }
    assert (made.scoring.refuse_above, made.scoring.high_from) == (Level.MEDIUM, 700)
    assert policy.from_stored(policy.to_json(made)) == made
    assert policy.from_json({"scoring": None}).scoring is None
    assert policy.from_json({"scoring": {}}).scoring == SCORING
    assert set(FACTORS) == set(Factor)
    assert {name: getattr(SCORING, name) for name in NUMBERS} == {
        name: row[2] for name, row in NUMBERS.items()
    }
