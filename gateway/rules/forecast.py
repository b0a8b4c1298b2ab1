"""When is a token full, at the rate at which it filled lately?"""

from dataclasses import dataclass
from datetime import datetime, timedelta

_FARTHEST = timedelta(days=365 * 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What enrolments and renewals did to the token in the last days, as the database tells."""

    days: float
    enrolments: int  # keysets of users who had none
    renewals: int  # keysets of users who had one
    added: int  # objects
    removed: int

    @property
    def per_day(self) -> float:
        """How many objects more the token has from one day to the next."""
        return (self.added - self.removed) / self.days


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """When the token is full; None with the reason in `why` where nobody can tell, or it will not be."""

    objects: int | None
    room: int | None
    growth: Growth | None
    full_at: datetime | None
    why: str = ""


def forecast(objects: int | None, room: int | None, growth: Growth | None, now: datetime) -> Forecast:
    """Divide the room that is left by what is added in a day.

    Args:
        objects: how many are on the token; None: not known.
        room: for how many more there is room; None: nobody told.
        growth: of the last days; None: no database told.
        now: the present moment.
    """

    def unknown(why: str) -> Forecast:
        return Forecast(objects=objects, room=room, growth=growth, full_at=None, why=why)

    if growth is None:
        return unknown("no keyset tells how fast the token fills")
    if room is None:
        return unknown("the module does not tell how much room there is; say it with --capacity")
    if room <= 0:
        return Forecast(objects=objects, room=room, growth=growth, full_at=now)
    if growth.per_day <= 0:
        return unknown("the token did not fill in the last days")
    days = room / growth.per_day
    if days > _FARTHEST.days:
        return unknown("not within a hundred years")
    return Forecast(objects=objects, room=room, growth=growth, full_at=now + timedelta(days=days))
