"""What do a token and a database say about each other: keys without a row, rows without a key, room that is left?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gateway.rules.forecast import Forecast, Growth
from gateway.rules.keyset import KeysetStatus
from gateway.scenarios import keynames
from gateway.scenarios.context import RECEIPT_VERSION
from gateway.store import holdings, loose_keys, receipt_keys
from gateway.store.database import Database
from gateway.store.holdings import Counted, Named
from gateway.wire import spki
from gateway.wire.timestep import format_time

_WINDOW = timedelta(days=30)
_SHORTEST = timedelta(days=1)  # a rate over less is none
_USED = (KeysetStatus.ISSUED, KeysetStatus.ACTIVE)


@dataclass(frozen=True, slots=True)
class Rows:
    """What the rows of one moment name: every key, and of those the ones that must be there, with their keysets."""

    named: frozenset[str]
    needed: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Keys of users that no row knows, and (key, keyset) of rows whose key is not there; None if not compared."""

    orphans: tuple[str, ...] | None = None
    missing: tuple[tuple[str, str], ...] | None = None
    why_unknown: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as values of JSON."""
        missing = self.missing
        return {
            "orphans": None if self.orphans is None else list(self.orphans),
            "missing": None
            if missing is None
            else [{"key": key, "keyset": keyset} for key, keyset in missing],
            "why_unknown": self.why_unknown,
        }


def read_rows(database: Database) -> Rows:
    """Read what the database says now. Raises Outage."""
    with database.reading() as connection:
        rows = list(holdings.named_keys(connection))
        loose = loose_keys.known_uris(connection)
    named = {key for row in rows for key in (row.khmac, row.kauth, row.kpublic) if key}
    return Rows(frozenset(named | loose), {key: row.id for row in rows for key in _needed(row)})


def _needed(row: Named) -> list[str]:
    """Return the keys without which the keyset is broken; those it may have given up already are not among them."""
    if row.status in _USED:
        wanted = [row.khmac, row.kauth, row.kpublic]
    elif row.status == KeysetStatus.DELETED:
        wanted = [row.khmac, row.kpublic]
    else:
        wanted = []
    return keynames.on_token(key for key in wanted if key)


def compare(before: Rows, found: Iterable[str], after: Rows) -> Comparison:
    """Compare the token with the rows as they were before and after it was read.

    Keys are made and destroyed meanwhile, so only what both moments say counts.
    """
    there = set(found)
    orphans = there - before.named - after.named
    gone = {key: keyset for key, keyset in after.needed.items() if key in before.needed and key not in there}
    return Comparison(orphans=tuple(sorted(orphans)), missing=tuple(sorted(gone.items())))


def is_of_token(database: Database, point: bytes | None) -> bool:
    """Say whether the database was made with the token that has this receipt key."""
    with database.reading() as connection:
        known = receipt_keys.receipt_thumbprint(connection, RECEIPT_VERSION)
    return point is not None and known == spki.jwk_thumbprint(point)


def growth_of(database: Database, now: datetime) -> Growth | None:
    """Return how the token filled in the last thirty days; None if no keyset is on it, or since today only."""
    with database.reading() as connection:
        counted = holdings.count_since(connection, now - _WINDOW)
    return _growth(counted, now)


def _growth(counted: Counted, now: datetime) -> Growth | None:
    if counted.first_at is None:
        return None
    days = min(_WINDOW, max(_SHORTEST, now - counted.first_at))
    return Growth(
        days=days / timedelta(days=1),
        enrolments=counted.made - counted.renewed,
        renewals=counted.renewed,
        added=2 * counted.made + counted.registered,  # Khmac and Kauth, later Kpublic
        removed=counted.replaced + 2 * counted.void,  # Kauth; or Kauth and Khmac
    )


def room_of(figures: Mapping[str, Any], objects: int | None, capacity: int | None) -> int | None:
    """Return for how many more objects there is room: as the operator says, else as the module does; None: unknown.

    Args:
        figures: of the doctor's trial `memory`.
        objects: how many there are.
        capacity: how many there may be, if somebody knows.
    """
    if capacity is not None:
        return None if objects is None else capacity - objects
    free, size = figures.get("free"), figures.get("bytes_per_object")
    return int(free // size) if free is not None and size else None


def forecast_json(told: Forecast) -> dict[str, Any]:
    """Return a forecast as values of JSON; what is not known is null."""
    growth = told.growth
    return {
        "objects": told.objects,
        "room": told.room,
        "days": None if growth is None else round(growth.days, 2),
        "enrolments": None if growth is None else growth.enrolments,
        "renewals": None if growth is None else growth.renewals,
        "objects_per_day": None if growth is None else round(growth.per_day, 3),
        "full_at": None if told.full_at is None else format_time(told.full_at),
        "why_unknown": told.why,
    }
