"""What does an application decide about scoring: the factors with their weights, the levels, and what is refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.refusals import Refusal

MOST = 1000


class Level(StrEnum):
    """How much speaks against an answer, in three words; the order is that of the enum."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Factor(StrEnum):
    """What can speak against an answer whose proofs are right."""

    DEVICE_DATA_MISSING = "device_data_missing"
    MODEL_CHANGED = "model_changed"
    OS_CHANGED = "os_changed"
    ROOTED = "rooted"
    NOT_BOUND = "not_bound"
    OFFLINE = "offline"
    ADDRESS_CHANGED = "address_changed"
    NEW_DEVICE = "new_device"
    QUICK = "quick"
    FAILURES = "failures"
    NIGHT = "night"
    MANY_ANSWERS = "many_answers"


# name: (weight by default, who knows it, what it means)
FACTORS: dict[Factor, tuple[int, str, str]] = {
    Factor.DEVICE_DATA_MISSING: (100, "phone", "a member of device data that the policy asks for is missing"),
    Factor.MODEL_CHANGED: (300, "phone", "the model is another than at the last approval or registration, or left out"),
    Factor.OS_CHANGED: (50, "phone", "so is the operating system; an update looks like that, too"),
    Factor.ROOTED: (400, "phone", "the phone says that it is rooted"),
    Factor.NOT_BOUND: (100, "gateway", "the keys are not bound to the fingerprint of a device"),
    Factor.OFFLINE: (200, "gateway", "the answer came as digits through the application, without a signature"),
    Factor.ADDRESS_CHANGED: (150, "gateway", "the network is none of those of the last 20 approvals"),
    Factor.NEW_DEVICE: (150, "gateway", "the keys were registered less than `new_device_hours` ago"),
    Factor.QUICK: (150, "gateway", "the answer came less than `quick_seconds` after the transaction was created"),
    Factor.FAILURES: (100, "gateway", "the user was wrong since the last right answer; counts once for each time"),
    Factor.NIGHT: (50, "gateway", "it is night: from the hour `night_from` to `night_until`, UTC"),
    Factor.MANY_ANSWERS: (150, "gateway", "`many_answers` or more answers in the `many_minutes` before"),
}  # fmt: skip

# name: (least, most, default, what it decides)
NUMBERS: dict[str, tuple[int, int, int, str]] = {
    "medium_from": (1, MOST, 300, "value from which the level is `medium`"),
    "high_from": (1, MOST, 600, "value from which it is `high`; not less than `medium_from`"),
    "quick_seconds": (0, 3600, 5, "seconds in which nobody reads a transaction"),
    "new_device_hours": (0, 8760, 24, "hours for which a registered phone is new"),
    "night_from": (0, 23, 23, "hour at which the night begins, UTC"),
    "night_until": (0, 23, 5, "hour at which it ends, UTC; the same hour for both: there is no night"),
    "many_answers": (1, 20, 10, "accepted answers with the same keys that are many"),
    "many_minutes": (1, 1440, 10, "minutes in which they are"),
}


class ScoringSetting(StrEnum):
    """What a transaction says about its scoring; it may ask for more than the policy, never for less."""

    POLICY = "policy"
    OFF = "off"
    REFUSE_ABOVE_LOW = "refuse_above_low"
    REFUSE_ABOVE_MEDIUM = "refuse_above_medium"


_LIMITS = {ScoringSetting.REFUSE_ABOVE_LOW: Level.LOW, ScoringSetting.REFUSE_ABOVE_MEDIUM: Level.MEDIUM}


def _weights() -> dict[str, int]:
    return {str(factor): weight for factor, (weight, _, _) in FACTORS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """The scoring of one application; ``refuse_above`` None: nothing is refused by its score."""

    weights: Mapping[str, int] = field(default_factory=_weights, hash=False)
    refuse_above: Level | None = None
    medium_from: int = NUMBERS["medium_from"][2]
    high_from: int = NUMBERS["high_from"][2]
    quick_seconds: int = NUMBERS["quick_seconds"][2]
    new_device_hours: int = NUMBERS["new_device_hours"][2]
    night_from: int = NUMBERS["night_from"][2]
    night_until: int = NUMBERS["night_until"][2]
    many_answers: int = NUMBERS["many_answers"][2]
    many_minutes: int = NUMBERS["many_minutes"][2]


def is_scored(scoring: Scoring | None, setting: ScoringSetting) -> bool:
    """Say whether an answer is scored. What a policy refuses by score is scored whatever the transaction says."""
    return scoring is not None and (setting is not ScoringSetting.OFF or scoring.refuse_above is not None)


def limit_of(scoring: Scoring, setting: ScoringSetting) -> Level | None:
    """Return the level above which an approval is refused: the stricter of policy and transaction."""
    limits = [each for each in (scoring.refuse_above, _LIMITS.get(setting)) if each is not None]
    return min(limits, key=list(Level).index, default=None)


def require_allowed(scoring: Scoring | None, setting: ScoringSetting) -> None:
    """Refuse a setting of a transaction that the policy does not allow."""
    if setting is ScoringSetting.POLICY:
        return
    if scoring is None:
        raise Refusal("not_allowed_by_policy", detail="The policy has no scoring.")
    own = _LIMITS.get(setting)
    if scoring.refuse_above is not None and (own is None or limit_of(scoring, setting) is not own):
        detail = f"The policy refuses above {scoring.refuse_above}; a transaction may be stricter alone."
        raise Refusal("not_allowed_by_policy", "looser scoring than the policy's", detail=detail)


def read_scoring(value: object) -> Scoring | None:
    """Return the scoring of a policy in JSON; null is none.

    Raises:
        ValueError: it is none; the text says why.
    """
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) - {"weights", "refuse_above", *NUMBERS}:
        raise ValueError(
            "must be null or an object of weights, refuse_above and the numbers of the reference"
        )
    numbers = {name: _number(name, value[name]) for name in NUMBERS.keys() & value.keys()}
    made = Scoring(
        weights=_weights() | _read_weights(value.get("weights", {})),
        refuse_above=_read_limit(value.get("refuse_above")),
        **numbers,
    )
    if made.high_from < made.medium_from:
        raise ValueError("high_from must not be less than medium_from")
    return made


def _number(name: str, value: object) -> int:
    least, most, _, _ = NUMBERS[name]
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}")
    return value


def _read_weights(value: object) -> dict[str, int]:
    known = {str(factor) for factor in Factor}
    if not isinstance(value, dict) or set(value) - known:
        raise ValueError(f"weights must be an object of {', '.join(sorted(known))}")
    if any(type(weight) is not int or not 0 <= weight <= MOST for weight in value.values()):
        raise ValueError(f"a weight is a whole number from 0 to {MOST}")
    return value


def _read_limit(value: object) -> Level | None:
    if value is None:
        return None
    if value not in (Level.LOW, Level.MEDIUM):
        raise ValueError("refuse_above must be null, low or medium")
    return Level(str(value))
