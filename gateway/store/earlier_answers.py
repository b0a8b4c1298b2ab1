"""What is known of earlier answers with a keyset: when, from which network, and what the phone told of itself."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.rules.confirmation import ONLINE, Outcome
from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset
from gateway.store.tables import attempts, events

_ACCEPTED = (
    sa.select(attempts.c.created_at, attempts.c.channel, attempts.c.device, attempts.c.scoring)
    .where(attempts.c.keyset_id == sa.bindparam("keyset_id"), attempts.c.outcome == Outcome.ACCEPTED)
    .order_by(attempts.c.id.desc())
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What there was before: the times of accepted answers, the last device data, and the addresses."""

    answered_at: list[datetime]
    device: dict[str, Any] | None
    addresses: list[str]


def earlier_answers(connection: Connection, keyset: Keyset, most: int) -> Earlier:
    """Return what the last accepted answers with the keyset say, or its registration where there is none online."""
    rows = list(connection.execute(_ACCEPTED, {"keyset_id": keyset.id, "most": most}))
    online = [row for row in rows if row.channel == ONLINE]
    addresses = [(row.scoring or {}).get("address") for row in online]
    device = online[0].device if online else None
    if not online:
        names = {
            "application_id": keyset.application_id, "user_id": keyset.user_id, "keyset_id": keyset.id
        }  # fmt: skip
        for row in connection.execute(_REGISTRATION, names):
            device, addresses = row.detail.get("device"), [row.address]
    return Earlier(
        answered_at=[row.created_at for row in rows],
        device=device,
        addresses=[each for each in addresses if each is not None],
    )
