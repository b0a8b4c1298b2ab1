"""What may an application decide: every bound of the policy, written out, with the values beside it."""

import dataclasses

import pytest

from gateway.refusals import Refusal
from gateway.rules.policy import (
    BOUNDS,
    CHOICES,
    STRUCTURES,
    SWITCHES,
    Flag,
    Policy,
    Residency,
    from_json,
    from_stored,
    to_json,
)

EXPECTED = {
    "validity_days": (1, 3650),
    "password_length": (6, 64),
    "password_classes": (0, 15),
    "device_fields": (0, 65535),
    "step_seconds": (30, 3600),
    "steps_back": (0, 10),
    "steps_ahead": (0, 10),
    "digits": (6, 10),
    "request_window_seconds": (30, 3600),
    "failures_most": (1, 5),
    "devices_most": (1, 10),
    "register_hours": (1, 720),
    "renew_hours": (1, 720),
    "transaction_seconds": (30, 2592000),
    "transaction_seconds_most": (30, 31536000),
}
FLAGS = {
    "bind_to_device": 0x0001,
    "collect_events": 0x0002,
    "collect_device_data": 0x0004,
    "forbid_biometrics": 0x0008,
    "kpublic_required": 0x0010,
}


def _refused(values: dict[str, object]) -> list[str]:
    with pytest.raises(Refusal) as refused:
        from_json(values)
    assert refused.value.problem.code == "malformed_request"
    return [error["pointer"] for error in refused.value.errors]


def test_the_bounds_are_those_written_here():
    assert {name: bounds[:2] for name, bounds in BOUNDS.items()} == EXPECTED


def test_the_defaults_are_those_of_the_core_document():
    default = Policy()
    assert (default.validity_days, default.step_seconds, default.password_length) == (365, 180, 6)
    assert (default.digits, default.failures_most, default.kpublic_required) == (8, 5, True)


def test_every_value_is_bounded_or_a_switch_or_a_choice():
    tables = set(BOUNDS) | set(SWITCHES) | set(CHOICES) | set(STRUCTURES)
    assert {field.name for field in dataclasses.fields(Policy)} == tables


def test_a_residency_is_one_of_two_words():
    assert {name: list(words) for name, (words, _) in CHOICES.items()} == {
        "residency": ["resident", "derived"]
    }
    assert from_json({}).residency is Residency.RESIDENT
    assert from_json({"residency": "derived"}).residency is Residency.DERIVED
    for wrong in ("Derived", "", "token", 1, True, None, ["derived"], {}):
        assert _refused({"residency": wrong}) == ["/residency"]


def test_the_defaults_are_a_policy_themselves():
    assert from_json({}) == Policy() == from_json(to_json(Policy()))


@pytest.mark.parametrize(("name", "least", "most"), [(name, *bounds) for name, bounds in EXPECTED.items()])
def test_a_number_may_be_at_its_bounds_and_not_beyond(name: str, least: int, most: int):
    for value in (least, most):
        assert getattr(from_json({name: value}), name) == value
    for value in (least - 1, most + 1, -(10**30), 10**30):
        assert _refused({name: value}) == [f"/{name}"]


@pytest.mark.parametrize("wrong", [True, 1.0, "7", None, [7], {}, float("nan")])
def test_a_number_must_be_a_whole_number(wrong: object):
    assert _refused({"digits": wrong}) == ["/digits"]


@pytest.mark.parametrize("name", sorted(SWITCHES))
def test_a_switch_is_true_or_false_and_nothing_like_it(name: str):
    for value in (True, False):
        assert getattr(from_json({name: value}), name) is value
    for wrong in (0, 1, "true", None, []):
        assert _refused({name: wrong}) == [f"/{name}"]


def test_an_unknown_name_is_refused_and_every_fault_is_named():
    assert _refused({"digit": 8, "digits": 5, "weak_secret": 1}) == ["/digit", "/digits", "/weak_secret"]


@pytest.mark.parametrize(("name", "flag"), list(FLAGS.items()))
def test_a_switch_travels_as_its_flag(name: str, flag: int):
    none = dict.fromkeys(FLAGS, False)
    assert from_json(none).flags == 0
    assert from_json({**none, name: True}).flags == flag
    assert {str(each.name).lower(): int(each) for each in Flag} == FLAGS


def test_a_stored_name_of_a_newer_version_is_passed_over_and_one_that_is_asked_for_refused():
    newer = {**to_json(Policy(digits=10)), "quorum": 2}
    assert from_stored(newer) == Policy(digits=10)
    assert _refused(newer) == ["/quorum"]


def test_a_stored_value_out_of_its_bounds_is_refused():
    with pytest.raises(Refusal):
        from_stored({"failures_most": 6})
