"""What may be decided for one user alone, and what is left to the policy of the application?"""

import pytest

from gateway.refusals import Refusal
from gateway.rules.policy import Policy, to_json
from gateway.rules.user_settings import PER_USER, policy_for, settings_from_json

DECIDED = {
    "bind_to_device": False,
    "collect_events": True,
    "collect_device_data": True,
    "device_fields": 3,
    "forbid_biometrics": True,
    "password_length": 12,
    "password_classes": 7,
    "renewal_allowed": False,
}


def _refused(values: dict[str, object]) -> list[str]:
    with pytest.raises(Refusal) as refused:
        settings_from_json(values)
    assert refused.value.problem.code == "malformed_request"
    return [error["pointer"] for error in refused.value.errors]


def test_flags_and_password_rules_are_decided_and_nothing_else():
    assert set(DECIDED) == set(PER_USER)
    assert settings_from_json(DECIDED) == DECIDED
    others = set(to_json(Policy())) - set(PER_USER)
    assert {"failures_most", "kpublic_required", "weak_secret", "validity_days"} <= others
    for name in others:
        assert _refused({name: to_json(Policy())[name]}) == [f"/{name}"]


def test_a_setting_has_the_bounds_of_the_policy():
    assert _refused({"password_length": 5}) == ["/password_length"]
    assert _refused({"renewal_allowed": 0}) == ["/renewal_allowed"]


def test_what_is_not_decided_for_the_user_is_as_the_policy_has_it():
    policy = Policy(password_length=8, failures_most=3)
    assert policy_for(policy, None) is policy
    assert policy_for(policy, {}) is policy
    changed = policy_for(policy, DECIDED)
    assert {name: getattr(changed, name) for name in DECIDED} == DECIDED
    assert changed.failures_most == 3
    assert policy_for(policy, {"renewal_allowed": False}).password_length == 8


def test_a_stored_name_of_a_newer_version_decides_nothing():
    assert policy_for(Policy(), {"quorum": 2, "password_length": 9}) == Policy(password_length=9)
