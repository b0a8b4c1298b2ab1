"""How much speaks against an answer whose proofs are right: factors, weighed by the policy into a value and a level.

A pure function of what was seen. What the phone tells about itself it can tell wrongly; the table says which factors
rest on that (docs/explanation/scoring.md).
"""

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gateway.rules.scoring_policy import MOST, Factor, Level, Scoring

_RANKS = {level: rank for rank, level in enumerate(Level)}
_NETWORKS = {4: 24, 6: 64}  # bits of an address that count: phones change the rest all the time


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was seen of one answer, and of those before it with the same keys.

    ``direct``: the phone itself asked, so that device data and address are those of the phone; ``offline``: it was by
    digits that the user typed. ``asked_fields`` are the members of device data that the policy asks for.
    ``earlier_device`` and ``earlier_addresses`` come from the last approvals, or from the first registration where
    there are none yet. ``created_at`` is of the transaction, None for content that the phone made itself.
    ``earlier_answers`` are times.
    """

    now: datetime
    device: Mapping[str, object]
    asked_fields: Sequence[str]
    address: str | None
    direct: bool
    offline: bool
    bound: bool
    registered_at: datetime | None
    created_at: datetime | None
    failures: int
    earlier_device: Mapping[str, object] | None
    earlier_addresses: Sequence[str]
    earlier_answers: Sequence[datetime]


@dataclass(frozen=True, slots=True)
class Finding:
    """One factor that spoke against the answer: with how many points, and why."""

    factor: Factor
    points: int
    why: str


@dataclass(frozen=True, slots=True)
class Score:
    """The outcome: 0 speaks nothing against the answer, 1000 as much as can be; with what contributed."""

    value: int
    level: Level
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as attempts, callbacks and answers carry it."""
        found = [{"factor": each.factor, "points": each.points, "why": each.why} for each in self.findings]
        return {"value": self.value, "level": self.level, "factors": found}


def score(scoring: Scoring, seen: Observed) -> Score:
    """Weigh what was seen: the sum of the points of every factor that speaks, at most 1000."""
    findings = []
    for factor, look in _LOOKS.items():
        weight = scoring.weights[factor]
        times, why = look(scoring, seen)
        if weight and times:
            findings.append(Finding(factor, min(MOST, weight * times), why))
    value = min(MOST, sum(each.points for each in findings))
    return Score(value, level_of(scoring, value), tuple(findings))


def level_of(scoring: Scoring, value: int) -> Level:
    """Return the level of a value, by the thresholds of the policy."""
    if value >= scoring.high_from:
        return Level.HIGH
    return Level.MEDIUM if value >= scoring.medium_from else Level.LOW


def is_above(level: Level, limit: Level | None) -> bool:
    """Say whether a level is above the limit; no limit has nothing above it."""
    return limit is not None and _RANKS[level] > _RANKS[limit]


_Look = tuple[int, str]  # how often the weight counts (0: not at all), and why
_NOT: _Look = (0, "")


def _device_data_missing(_: Scoring, seen: Observed) -> _Look:
    missing = [name for name in seen.asked_fields if name not in seen.device]
    return _NOT if not (seen.direct and missing) else (1, f"not told: {', '.join(missing)}")


def _changed(name: str) -> "Callable[[Scoring, Observed], _Look]":
    def look(_: Scoring, seen: Observed) -> _Look:
        earlier = (seen.earlier_device or {}).get(name)
        now = seen.device.get(name)
        if not seen.direct or earlier in (None, now):
            return _NOT
        # Left out counts as changed: else to say nothing would speak less against an answer than to say what is so.
        return 1, f"{name} was {earlier}" if now is not None else f"{name} was {earlier}, and is not told"

    return look


def _rooted(_: Scoring, seen: Observed) -> _Look:
    return (1, "the phone says so") if seen.device.get("rooted") in (True, "true", "yes") else _NOT


def _not_bound(_: Scoring, seen: Observed) -> _Look:
    return _NOT if seen.bound else (1, "the keys are bound to no fingerprint")


def _offline(_: Scoring, seen: Observed) -> _Look:
    return (1, "digits that the user typed, without a signature") if seen.offline else _NOT


def _address_changed(_: Scoring, seen: Observed) -> _Look:
    if not seen.direct or seen.address is None or not seen.earlier_addresses:
        return _NOT
    known = {_network(each) for each in seen.earlier_addresses}
    return _NOT if _network(seen.address) in known else (1, "from another network than before")


def _network(address: str) -> str:
    try:
        bits = _NETWORKS[ipaddress.ip_address(address).version]
        return str(ipaddress.ip_network(f"{address}/{bits}", strict=False))
    except ValueError:
        return address


def _new_device(scoring: Scoring, seen: Observed) -> _Look:
    if seen.registered_at is None:
        return 1, "not registered"
    young = seen.now < seen.registered_at + timedelta(hours=scoring.new_device_hours)
    return (1, f"registered less than {scoring.new_device_hours} h ago") if young else _NOT


def _quick(scoring: Scoring, seen: Observed) -> _Look:
    if seen.created_at is None or seen.now >= seen.created_at + timedelta(seconds=scoring.quick_seconds):
        return _NOT
    return 1, f"answered in less than {scoring.quick_seconds} s"


def _failures(_: Scoring, seen: Observed) -> _Look:
    return (seen.failures, f"{seen.failures} wrong before") if seen.failures else _NOT


def _night(scoring: Scoring, seen: Observed) -> _Look:
    hour, begin, end = seen.now.hour, scoring.night_from, scoring.night_until
    inside = begin <= hour < end if begin <= end else hour >= begin or hour < end
    return (1, f"between {begin} and {end} h UTC") if inside else _NOT


def _many_answers(scoring: Scoring, seen: Observed) -> _Look:
    since = seen.now - timedelta(minutes=scoring.many_minutes)
    lately = sum(each > since for each in seen.earlier_answers)
    if lately < scoring.many_answers:
        return _NOT
    return 1, f"{scoring.many_answers} or more in {scoring.many_minutes} min"


_LOOKS: dict[Factor, Callable[[Scoring, Observed], _Look]] = {
    Factor.DEVICE_DATA_MISSING: _device_data_missing,
    Factor.MODEL_CHANGED: _changed("model"),
    Factor.OS_CHANGED: _changed("os"),
    Factor.ROOTED: _rooted,
    Factor.NOT_BOUND: _not_bound,
    Factor.OFFLINE: _offline,
    Factor.ADDRESS_CHANGED: _address_changed,
    Factor.NEW_DEVICE: _new_device,
    Factor.QUICK: _quick,
    Factor.FAILURES: _failures,
    Factor.NIGHT: _night,
    Factor.MANY_ANSWERS: _many_answers,
}
