"""How is an answer scored: what was seen of it and of those before is gathered, weighed, and held to the limit.

An application without scoring in its policy asks the database for nothing here.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.rules import scoring_policy
from gateway.rules.confirmation import OFFLINE, ONLINE
from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset
from gateway.rules.policy import Policy
from gateway.rules.scoring import Observed, Score, is_above, score
from gateway.rules.scoring_policy import ScoringSetting
from gateway.rules.transaction import CancelReason, Transaction, TransactionAction
from gateway.scenarios import settling
from gateway.scenarios.recording import Origin, make_event, record
from gateway.store.applications import Application
from gateway.store.database import Connection
from gateway.store.earlier_answers import earlier_answers
from gateway.wire.policy import DeviceFields

_EARLIER_MOST = 20


@dataclass(frozen=True, slots=True)
class Scored:
    """The score of an answer, the address it came from, and whether an approval with it is refused."""

    score: Score
    address: str | None
    is_above: bool

    @property
    def kept(self) -> dict[str, Any]:
        """What is kept and told of it; the address is what later answers are compared with."""
        return self.score.to_json() | {"address": self.address}

    @property
    def claim(self) -> tuple[int, str]:
        """What a receipt says of it."""
        return self.score.value, self.score.level

    @property
    def why(self) -> str:
        """What the events tell of a refusal."""
        factors = ", ".join(each.factor for each in self.score.findings)
        return f"score {self.score.value} is {self.score.level}: {factors}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One answer, before it is weighed; ``transaction`` is None for content that a phone made itself."""

    keyset: Keyset
    transaction: Transaction | None
    failures: int
    device: dict[str, object]
    address: str | None
    channel: str
    now: datetime


def is_scored(policy: Policy, transaction: Transaction | None) -> bool:
    """Say whether answers to the transaction are scored."""
    return policy.scoring is not None and scoring_policy.is_scored(policy.scoring, _setting(transaction))


def _setting(transaction: Transaction | None) -> ScoringSetting:
    return ScoringSetting.POLICY if transaction is None else transaction.scoring


def cancel_by_score(
    connection: Connection,
    application: Application,
    transaction: Transaction,
    scored: Scored,
    keyset_id: str,
    device: dict[str, object],
    origin: Origin,
    now: datetime,
) -> bool:
    """Cancel a transaction because of its answer, so that nobody tries out what would pass; False if it was settled.

    The proofs were right, so it counts as no failure.
    """
    won = settling.cancel(
        connection,
        application,
        transaction.id,
        TransactionAction.REFUSE,
        CancelReason.SCORE_TOO_HIGH,
        origin,
        now,
        scored.kept,
    )
    if won:
        event = make_event(
            EventType.SCORE_TOO_HIGH,
            "refused",
            now,
            origin,
            reason=scored.why,
            detail={"device": device, "scoring": scored.kept},
            **settling.subject(application.id, transaction, keyset_id),
        )
        record(connection, [event])
    return won


def weigh(connection: Connection, policy: Policy, seen: Seen) -> Scored | None:
    """Return the score of an answer, or None where none is asked for.

    ``policy`` is as it is for the user where the phone itself answers, for that is what it was asked by.
    """
    scoring = policy.scoring
    if scoring is None or not is_scored(policy, seen.transaction):
        return None
    authenticates = bool(policy.authentication_rules)
    earlier = earlier_answers(connection, seen.keyset, _EARLIER_MOST, authenticates=authenticates)
    direct = seen.channel == ONLINE
    observed = Observed(
        now=seen.now,
        device=seen.device,
        asked_fields=DeviceFields(policy.device_fields if policy.collect_device_data else 0).names(),
        address=seen.address if direct else None,
        direct=direct,
        offline=seen.channel == OFFLINE,
        bound=bool(seen.keyset.fingerprint),
        registered_at=seen.keyset.registered_at,
        created_at=None if seen.transaction is None else seen.transaction.created_at,
        failures=max(seen.failures, 0 if seen.transaction is None else seen.transaction.failures),
        earlier_device=earlier.device,
        earlier_addresses=earlier.addresses,
        earlier_answers=earlier.answered_at,
    )
    found = score(scoring, observed)
    limit = scoring_policy.limit_of(scoring, _setting(seen.transaction))
    return Scored(found, observed.address, is_above(found.level, limit))
