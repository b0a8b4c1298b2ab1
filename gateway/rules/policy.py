"""What an application has decided: one frozen object of documented values."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from enum import IntFlag, StrEnum
from typing import Any

from gateway.refusals import Refusal
from gateway.rules.authentication_rule import PLACEHOLDERS, RULES_MOST, AuthenticationRule, read_rules
from gateway.rules.scoring_policy import Scoring, read_scoring


class Flag(IntFlag):
    """The flags that travel in a package (wire reference, policy TLV, tag 80)."""

    BIND_TO_DEVICE = 0x0001
    COLLECT_EVENTS = 0x0002
    COLLECT_DEVICE_DATA = 0x0004
    FORBID_BIOMETRICS = 0x0008
    KPUBLIC_REQUIRED = 0x0010


class Residency(StrEnum):
    """Where the keys of a user are.

    ``resident``: each is an object on the token. ``derived``: nothing of the user is on the token; the HSM derives
    the secret keys from its master when they are needed, and the database keeps the public one.
    """

    RESIDENT = "resident"
    DERIVED = "derived"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The decisions of one application.

    Every value has a default and stands in ``BOUNDS``, ``SWITCHES``, ``CHOICES`` or ``STRUCTURES``.
    """

    validity_days: int = 365
    bind_to_device: bool = True
    collect_events: bool = False
    collect_device_data: bool = False
    forbid_biometrics: bool = False
    kpublic_required: bool = True
    password_length: int = 6
    password_classes: int = 0
    device_fields: int = 0
    step_seconds: int = 180
    steps_back: int = 1
    steps_ahead: int = 1
    digits: int = 8
    offline_allowed: bool = False
    push: bool = True
    request_window_seconds: int = 300
    failures_most: int = 5
    devices_most: int = 1
    register_hours: int = 72
    renew_hours: int = 24
    renewal_allowed: bool = True
    weak_secret: bool = False
    transaction_seconds: int = 900
    transaction_seconds_most: int = 30 * 86400
    residency: Residency = Residency.RESIDENT
    authentication_rules: tuple[AuthenticationRule, ...] = ()
    scoring: Scoring | None = None

    @property
    def flags(self) -> Flag:
        """Return the flags as they travel in a package."""
        chosen = Flag(0)
        for flag in Flag:
            if getattr(self, str(flag.name).lower()):
                chosen |= flag
        return chosen


# name: (least, most, what it decides)
BOUNDS: dict[str, tuple[int, int, str]] = {
    "validity_days": (1, 3650, "days a keyset is valid from its issue"),
    "password_length": (6, 64, "least length of the password on the phone"),
    "password_classes": (0, 15, "mask of required classes: 1 lower, 2 upper, 4 digit, 8 other"),
    "device_fields": (0, 0xFFFF, "mask of device data the phone is asked to send"),
    "step_seconds": (30, 3600, "length of a time step, fixed per keyset at issue"),
    "steps_back": (0, 10, "steps before the present one that are accepted"),
    "steps_ahead": (0, 10, "steps after the present one that are accepted"),
    "digits": (
        6,
        10,
        "digits of short codes, at least; of data that stands alone exactly, fixed per keyset at issue",
    ),
    "request_window_seconds": (30, 3600, "how far a phone's clock may be off in a request"),
    "failures_most": (1, 5, "consecutive failures after which a user is blocked and a transaction cancelled"),
    "devices_most": (1, 10, "devices a user may have; with 1, keys for another device end those before"),
    "register_hours": (1, 720, "hours in which a phone must register before its keyset lapses"),
    "renew_hours": (1, 720, "hours in which a phone must register keys that it renewed itself"),
    "transaction_seconds": (30, 30 * 86400, "seconds a transaction waits when the request names no time"),
    "transaction_seconds_most": (30, 365 * 86400, "most seconds a transaction may wait, whoever names them"),
}
SWITCHES: dict[str, str] = {
    "bind_to_device": "keysets are bound to the fingerprint of a device",
    "collect_events": "phones are asked to report events",
    "collect_device_data": "phones are asked to send device data",
    "forbid_biometrics": "phones must ask for the password, not a finger or a face",
    "kpublic_required": "a phone must register Kpublic before it may do anything else",
    "offline_allowed": "short codes may be used by transactions that ask for it; off, at once by none",
    "push": "phones that gave a push address are woken when something waits for them",
    "renewal_allowed": "phones may renew their keys themselves while the old ones are valid",
    "weak_secret": "online delivery may use a secret that people choose, for ten minutes",
}

# name: (the words, what they decide)
CHOICES: dict[str, tuple[type[StrEnum], str]] = {
    "residency": (
        Residency,
        "where a user's keys are, from the next keyset on: on the token, or derived in the HSM when needed",
    ),
}

# name: (reads it from JSON or raises ValueError, its form, what it decides)
STRUCTURES: dict[str, tuple[Callable[[object], Any], str, str]] = {
    "authentication_rules": (
        read_rules,
        f"a list of at most {RULES_MOST} objects of `name`, `media_type` and `template`",
        "which content authenticates a user without being asked for; places in a template: "
        + "; ".join(f"`{{{name}}}` {about}" for name, about in PLACEHOLDERS.items())
        + ". Exactly one of `{time}` and `{step}` must be there",
    ),
    "scoring": (
        read_scoring,
        "null, or an object: [scoring](#scoring)",
        "whether answers are scored, how, and what is refused",
    ),
}


def from_json(values: dict[str, Any]) -> Policy:
    """Make a policy of the named values, the rest by default; refuses unknown names and values out of bounds."""
    known = {field.name for field in fields(Policy)}
    wrong = [(name, "unknown") for name in sorted(set(values) - known)]
    for name, value in values.items():
        if name in SWITCHES and not isinstance(value, bool):
            wrong.append((name, "must be true or false"))
        if name in BOUNDS:
            least, most, _ = BOUNDS[name]
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                wrong.append((name, f"must be a whole number from {least} to {most}"))
        if name in CHOICES and value not in list(CHOICES[name][0]):
            wrong.append((name, f"must be one of {', '.join(CHOICES[name][0])}"))
    structures, faults = _read_structures(values)
    wrong += faults
    if wrong:
        errors = tuple({"pointer": f"/{name}", "detail": text} for name, text in wrong)
        raise Refusal("malformed_request", "policy out of bounds", errors=errors)
    chosen = {name: words(values[name]) for name, (words, _) in CHOICES.items() if name in values}
    return Policy(**{**values, **chosen, **structures})


def _read_structures(values: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the values that have parts, read, and what is wrong with the others of them."""
    read: dict[str, Any] = {}
    wrong = []
    for name in STRUCTURES.keys() & values.keys():
        try:
            read[name] = STRUCTURES[name][0](values[name])
        except ValueError as fault:
            wrong.append((name, str(fault)))
    return read, wrong


def from_stored(values: dict[str, Any]) -> Policy:
    """Make a policy of what was stored, perhaps by a newer version: names this one does not know decide nothing."""
    known = {field.name for field in fields(Policy)}
    return from_json({name: value for name, value in values.items() if name in known})


def to_json(policy: Policy) -> dict[str, Any]:
    """Return every value of the policy by name."""
    return asdict(policy)
