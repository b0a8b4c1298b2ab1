"""How does a test have a module examined, quickly, and look at what came out?"""

from __future__ import annotations

from dataclasses import dataclass

import pkcs11
from pkcs11 import Attribute

from hsm.device import Device
from hsm.doctor.apart import examine_apart
from hsm.doctor.bench import LABEL, Plan
from hsm.doctor.findings import Finding, Result
from hsm.doctor.verdict import USUAL, Mode, Status, Usable, Verdict, judge, status_of

QUICK = Plan(threads=4, sessions=5, most_sessions=8, samples=5, seconds=0.5)


@dataclass(frozen=True)
class Examined:
    """What the doctor found."""

    findings: dict[str, Finding]
    verdicts: dict[Mode, Verdict]

    def result(self, trial: str) -> Result:
        return self.findings[trial].result

    def remark(self, trial: str) -> str:
        return self.findings[trial].remark

    def usable(self, mode: Mode) -> Usable:
        return self.verdicts[mode].usable

    def why(self, mode: Mode) -> str:
        return "; ".join(self.verdicts[mode].reasons)

    def status(self, *needed: Mode) -> Status:
        return status_of(self.verdicts.values(), needed or USUAL)

    def not_as_it_should(self) -> set[str]:
        return {name for name, found in self.findings.items() if found.result is not Result.WORKS}


def examined(uri: str, plan: Plan = QUICK, trial_seconds: float = 60) -> Examined:
    """Have the token examined."""
    findings = {finding.trial: finding for finding in examine_apart(uri, plan, trial_seconds)}
    return Examined(findings, {verdict.mode: verdict for verdict in judge(findings.values())})


def objects_of_the_doctor(device: Device) -> int:
    """Count what a run left on the token."""
    return device._guard.use(lambda _, session: len(list(session.get_objects({Attribute.LABEL: LABEL}))))


def leave_objects(device: Device, number: int) -> None:
    """Leave objects on the token, as a run does that is killed."""

    def leave(_: object, session: pkcs11.Session) -> None:
        for _ in range(number):
            session.create_object(
                {
                    Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY,
                    Attribute.KEY_TYPE: pkcs11.KeyType.GENERIC_SECRET,
                    Attribute.VALUE: bytes(32),
                    Attribute.LABEL: LABEL,
                    Attribute.ID: bytes([number]) * 16,
                    Attribute.TOKEN: True,
                    Attribute.PRIVATE: True,
                }
            )

    device._guard.change(leave)
