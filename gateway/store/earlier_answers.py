"""What is known of earlier answers with a phone's keys: when, from which network, and what the phone told of itself.

Renewed keys continue those that they renew: what was before stays what an answer is compared with. A decline counts
among the answers, but teaches neither phone nor network: it is never refused, so a thief could teach his own with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.rules.confirmation import ONLINE, Outcome
from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset
from gateway.store.tables import attempts, authentications, events, keysets
from gateway.wire.message import Operation

_ACCEPTED = (
    sa.select(attempts.c.created_at, attempts.c.device, attempts.c.scoring)
    .where(
        attempts.c.keyset_id.in_(sa.bindparam("keyset_ids", expanding=True)),
        attempts.c.outcome == Outcome.ACCEPTED,
    )
    .order_by(attempts.c.id.desc())
    .limit(sa.bindparam("most"))
)
_APPROVED = _ACCEPTED.where(
    attempts.c.channel == ONLINE, attempts.c.operation == Operation.APPROVE.name.lower()
)
_AUTHENTICATED = (
    sa.select(authentications.c.created_at)
    .where(
        authentications.c.application_id == sa.bindparam("application_id"),
        authentications.c.user_id == sa.bindparam("user_id"),
        authentications.c.keyset_id.in_(sa.bindparam("keyset_ids", expanding=True)),
    )
    .order_by(authentications.c.id.desc())
    .limit(sa.bindparam("most"))
)
_REGISTRATION = (
    sa.select(events.c.detail, events.c.address)
    .where(
        events.c.application_id == sa.bindparam("application_id"),
        events.c.user_id == sa.bindparam("user_id"),
        events.c.type == EventType.KEYSET_REGISTERED,
        events.c.keyset_id == sa.bindparam("keyset_id"),
    )
    .order_by(events.c.number)
    .limit(1)
)
_RENEWED = (
    sa.select(keysets.c.id, keysets.c.renews)
    .where(keysets.c.id == sa.bindparam("keyset_id"))
    .cte("renewed", recursive=True)
)
_CHAIN = sa.select(
    _RENEWED.union(
        sa.select(keysets.c.id, keysets.c.renews).join(_RENEWED, keysets.c.id == _RENEWED.c.renews)
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What there was before: the times of accepted answers, the last device data, and the addresses."""

    answered_at: list[datetime]
    device: dict[str, Any] | None
    addresses: list[str]


def earlier_answers(
    connection: Connection, keyset: Keyset, most: int, *, authenticates: bool = False
) -> Earlier:
    """Return what the last accepted answers say, with the keyset and those that it renews, or the first registration.

    With ``authenticates``, authentications by content of the phone count among the answers; they teach nothing, either.
    The registration speaks where the phone approved nothing yet: never that of renewed keys, which whoever
    renewed them made.
    """
    keyset_ids, first = _chain(connection, keyset)
    asked = {"keyset_ids": keyset_ids, "most": most}
    whose = {"application_id": keyset.application_id, "user_id": keyset.user_id}
    answered_at = [row.created_at for row in connection.execute(_ACCEPTED, asked)]
    approved = list(connection.execute(_APPROVED, asked)) if answered_at else []
    if authenticates:
        answered_at += connection.execute(_AUTHENTICATED, asked | whose).scalars()
    addresses = [(row.scoring or {}).get("address") for row in approved]
    device = approved[0].device if approved else None
    if not approved and first is not None:
        for row in connection.execute(_REGISTRATION, whose | {"keyset_id": first}):
            device, addresses = row.detail.get("device"), [row.address]
    return Earlier(
        answered_at=answered_at,
        device=device,
        addresses=[each for each in addresses if each is not None],
    )


def _chain(connection: Connection, keyset: Keyset) -> tuple[Sequence[str], str | None]:
    """Return the keyset and those before that it renews, and the one that renews none (None where it is gone)."""
    if keyset.renews is None:
        return [keyset.id], keyset.id
    found = {row.id: row.renews for row in connection.execute(_CHAIN, {"keyset_id": keyset.id})}
    return list(found), next((each for each, renews in found.items() if renews is None), None)
