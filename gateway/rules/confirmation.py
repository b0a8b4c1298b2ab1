"""Which proofs a confirmation needs, and what its outcome means for the counters."""

from dataclasses import dataclass
from enum import StrEnum

# The channel by which an answer came.
ONLINE = "online"  # the phone's own door
OFFLINE = "offline"  # digits that the user typed into the application
PASSED_ON = "passed_on"  # full proofs that a phone gave to the application
NOT_ACCEPTED_MOST = 20  # refused and late answers that are kept with a transaction


class Check(StrEnum):
    """One thing that was verified; the names stand in callbacks, receipts and attempts."""

    STEP = "step"
    CODE = "code"
    SIGNATURE = "signature"


class Outcome(StrEnum):
    """How an attempt ended."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the proofs showed: the checks that passed, and the first one that did not."""

    passed: tuple[Check, ...]
    failed: Check | None
    counts: bool

    @property
    def accepted(self) -> bool:
        """Say whether every required proof was right."""
        return self.failed is None


def signature_required(*, registered: bool, policy_requires: bool, transaction_requires: bool) -> bool:
    """Say whether a signature must accompany the code.

    A registered Kpublic makes it mandatory: code and signature are then only accepted together.
    Without one the code alone serves, unless the policy or the transaction demands a Kpublic.
    """
    return registered or policy_requires or transaction_requires


def judge(
    *, step_in_window: bool, code_matches: bool, signature_matches: bool | None, registered: bool = True
) -> Verdict:
    """Weigh the single checks in the order of the specification: step, code, signature.

    Args:
        step_in_window: the named step is one of those accepted now. A wrong clock is no guess and does not count.
        code_matches: the full code is right.
        signature_matches: the signature is right; None when none is required.
        registered: there is a Kpublic. Where one is required and there is none yet, that is no guess either.
    """
    results = [(Check.STEP, step_in_window), (Check.CODE, code_matches)]
    if signature_matches is not None:
        results.append((Check.SIGNATURE, signature_matches))
    passed = tuple(check for check, right in results if right)
    failed = next((check for check, right in results if not right), None)
    counts = failed is Check.CODE or (failed is Check.SIGNATURE and registered)
    return Verdict(passed=passed, failed=failed, counts=counts)
