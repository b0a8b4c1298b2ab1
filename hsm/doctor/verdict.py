"""In which modes will the gateway run on a module of which this was found?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

from hsm.doctor.findings import Finding, Result


class Mode(StrEnum):
    """What a gateway may want of its token."""

    RESIDENT = "resident"
    DERIVED = "derived"
    ONLINE = "online"
    QR = "qr"
    QR_AND_CODE = "qr_and_code"
    SEALED = "sealed"


USUAL = (Mode.RESIDENT, Mode.ONLINE, Mode.QR, Mode.QR_AND_CODE)
_DELIVERIES = (Mode.ONLINE, Mode.QR, Mode.QR_AND_CODE, Mode.SEALED)


class Usable(StrEnum):
    """How far a mode goes."""

    WORKS = "works"
    RESTRICTED = "restricted"
    NOT_USABLE = "not usable"


class Status(IntEnum):
    """The exit status, for scripts."""

    WORKS = 0
    RESTRICTED = 1
    NOT_USABLE = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a mode can be used, and all the reasons why not, or why only with restrictions."""

    mode: Mode
    usable: Usable
    reasons: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as values of JSON."""
        return {"mode": str(self.mode), "usable": str(self.usable), "reasons": list(self.reasons)}


# Without these no gateway starts, or should.
BASE = (
    "module",
    "token",
    "login",
    "mechanisms",
    "generate_secret",
    "mac_known_answer",
    "verify_known_answer",
    "stored_secret",
    "stored_pair",
    "random",
    "never_extractable",
    "threads",
    "sessions",
)
_WAYS = ("copy_down", "flip", "unwrap_again")
_WEAKER = ("allowed_mechanisms", "modifiable")  # a barrier less for whoever has the PIN
_LEFT_OPEN = {
    "allowed_mechanisms": "keys can be used by other mechanisms, if their uses allow it",
    "modifiable": "whoever has the PIN can give keys other uses",
}


def judge(findings: Iterable[Finding]) -> tuple[Verdict, ...]:
    """Return the verdict on each mode."""
    found = {finding.trial: finding for finding in findings}
    broken = [_reason(found, trial) for trial in BASE if not _is_good(found, trial)]
    broken += _unsafe(found)
    limits = [
        _limit(found[trial]) for trial in (*BASE, *_WEAKER) if trial in found and _is_weak(found[trial])
    ]
    delivering, weaker = _delivery(found)
    sealing, weaker_seal = _sealing(found)
    verdicts = [
        _verdict(Mode.RESIDENT, broken + _missing(found, "stored_public_key"), limits),
        _verdict(Mode.DERIVED, broken + _missing(found, "derive"), limits),
    ]
    verdicts += [_verdict(mode, broken + delivering, limits + weaker) for mode in _DELIVERIES[:3]]
    verdicts.append(_verdict(Mode.SEALED, broken + sealing, limits + weaker_seal))
    return tuple(verdicts)


def status_of(verdicts: Iterable[Verdict], needed: Collection[Mode] = USUAL) -> Status:
    """Return 0 if every needed mode works as it should; 2 if no gateway runs on it; else 1."""
    usable = {verdict.mode: verdict.usable for verdict in verdicts}
    if all(usable[mode] is Usable.WORKS for mode in needed):
        return Status.WORKS
    residencies = (usable[Mode.RESIDENT], usable[Mode.DERIVED])
    return Status.NOT_USABLE if all(each is Usable.NOT_USABLE for each in residencies) else Status.RESTRICTED


def _delivery(found: Mapping[str, Finding]) -> tuple[list[str], list[str]]:
    missing = _missing(found, "import_key") or _missing(found, "aes_wrap")
    if missing:
        only = _sealing(found)[0] == []
        return [missing[0] + ("; only `sealed` delivery is possible" if only else "")], []
    return _way(found, "deliver", _WAYS)


def _unsafe(found: Mapping[str, Finding]) -> list[str]:
    """Return why the gateway would refuse to start: the token wraps keys, and every copy can be wrapped again."""
    if not _is_good(found, "aes_wrap"):
        return []
    return _way(found, "deliver", _WAYS)[0]


def _sealing(found: Mapping[str, Finding]) -> tuple[list[str], list[str]]:
    missing = _missing(found, "rsa_wrap")
    if missing:
        return missing, []
    reasons, weaker = _way(found, "seal", _WAYS)
    wrapping = found["rsa_wrap"]
    return reasons, [*weaker, *([_limit(wrapping)] if _is_weak(wrapping) else [])]


def _way(found: Mapping[str, Finding], how: str, ways: Collection[str]) -> tuple[list[str], list[str]]:
    """Return why no way goes, and what is weaker about the first one that goes."""
    for way in ways:
        if _is_good(found, f"{how}_{way}"):
            return [], [] if way == "copy_down" else [_OTHER_WAYS[way]]
    return [_reason(found, f"{how}_{way}") for way in ways], []


_OTHER_WAYS = {
    "flip": "keys are delivered by flip: kept keys stay modifiable, a crash may leave an extractable one",
    "unwrap_again": "keys are delivered by unwrapping again: their value passes through our memory, wrapped",
}


def _verdict(mode: Mode, reasons: list[str], limits: list[str]) -> Verdict:
    if reasons:
        return Verdict(mode, Usable.NOT_USABLE, tuple(dict.fromkeys(reasons)))
    return Verdict(mode, Usable.RESTRICTED if limits else Usable.WORKS, tuple(limits))


def _missing(found: Mapping[str, Finding], trial: str) -> list[str]:
    return [] if _is_good(found, trial) else [_reason(found, trial)]


def _is_good(found: Mapping[str, Finding], trial: str) -> bool:
    return trial in found and found[trial].result in (Result.WORKS, Result.RESTRICTED)


def _is_weak(finding: Finding) -> bool:
    if finding.trial in _WEAKER:
        return finding.result is not Result.WORKS
    return finding.result is Result.RESTRICTED


def _reason(found: Mapping[str, Finding], trial: str) -> str:
    finding = found.get(trial)
    if finding is None:
        return f"{trial} was not reached"
    return f"{trial}: {finding.remark or finding.result}"


def _limit(finding: Finding) -> str:
    return f"{finding.trial}: {_LEFT_OPEN.get(finding.trial) or finding.remark or finding.result}"
