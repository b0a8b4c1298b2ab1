"""What may be decided for one user alone: the flags and password rules that travel in its packages.

What is not decided for the user is as the policy of the application has it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.refusals import Refusal
from gateway.rules.policy import Policy, from_json

# Names of the policy; nothing that guards the gateway or other users, and no limit of failures.
PER_USER = (
    "bind_to_device",
    "collect_events",
    "collect_device_data",
    "device_fields",
    "forbid_biometrics",
    "password_length",
    "password_classes",
    "renewal_allowed",
)


def settings_from_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings; refuses names that cannot be decided for one user, and values out of bounds."""
    errors = tuple(
        {"pointer": f"/{name}", "detail": "cannot be decided for one user"}
        for name in sorted(set(values) - set(PER_USER))
    )
    if errors:
        raise Refusal("malformed_request", "not a setting of a user", errors=errors)
    from_json(dict(values))
    return dict(values)


def policy_for(policy: Policy, settings: Mapping[str, Any] | None) -> Policy:
    """Return the policy as it is for a user with these settings; names this version does not know decide nothing."""
    if not settings:
        return policy
    return replace(policy, **settings_from_json({n: settings[n] for n in PER_USER if n in settings}))
