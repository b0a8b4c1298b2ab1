"""How do requests of one kind that arrive together go the same way together: gather, prove, settle?

One hop to a thread, one reading, one turn at the device and one unit for all of them. What is refused about one is
nobody else's matter; where a step fails for another reason, each goes by itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Generic, TypeVar

from gateway.refusals import Outage, Refusal
from gateway.scenarios.batching import Room
from gateway.scenarios.context import Context
from gateway.store.database import Blocked, Collision, Connection
from gateway.wire.errors import WireError
from hsm.errors import DeviceUnavailable, KeyElsewhere
from hsm.keys import FleetingRef

Asked = TypeVar("Asked")
Known = TypeVar("Known")
Proved = TypeVar("Proved")
Settled = TypeVar("Settled")

Item = TypeVar("Item")

_MOST, _AT_ONCE = 32, 1


class Left(Enum):
    """What a group says of one that it leaves without a trace, to be settled by itself."""

    LEFT = auto()
    HELD = (
        auto()
    )  # somebody holds its rows: it waits for them where it keeps nobody waiting, outside of the room


_Done = tuple[Proved, Settled] | Exception | Left


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps(Generic[Asked, Known, Proved, Settled]):
    """What is done for requests of one kind, step by step. No is said by a Refusal or a WireError.

    Args:
        kind: what is asked, one word.
        gather: reads what the database knows, or says why not (``for_each``), of each of a group.
        keys_of: names the keys that ``prove`` uses and that are not on the token.
        prove: asks the device; no unit is open, and nothing is changed.
        order: a text by which a group is put in order, so that everywhere rows are locked in one order.
        settle: writes what came of each of a group. It leaves those that are not settled like the others, unless the
            group is one alone. What it raises has each of the group settled by itself.
        is_free: locks what ``settle`` would wait for of one alone, unless somebody holds that.
    """

    kind: str
    gather: Callable[[Connection, Sequence[Asked]], Sequence[Known | Exception]]
    keys_of: Callable[[Known], Sequence[FleetingRef]]
    prove: Callable[[Context, Asked, Known], Proved]
    order: Callable[[Proved], str]
    settle: Callable[[Connection, Sequence[tuple[Asked, Proved]]], Sequence[Settled | Left]]
    is_free: Callable[[Connection, Proved], bool]

    async def ask(self, ctx: Context, asked: Asked) -> tuple[Proved, Settled]:
        """Return what was proved and settled for the request, or raise why not."""
        room: Room[Asked, tuple[Proved, Settled] | Left] = ctx.room(self._together, _MOST, _AT_ONCE)
        found = await room.ask(asked)
        if not isinstance(found, Left):
            return found
        (alone,) = await ctx.in_store_thread(partial(self._here, ctx, [asked], waits=True))
        if isinstance(alone, Exception):
            raise alone
        assert not isinstance(alone, Left)
        return alone

    async def _together(
        self, ctx: Context, group: list[Asked]
    ) -> Sequence[tuple[Proved, Settled] | Left | Exception]:
        return await ctx.in_store_thread(partial(self._here, ctx, group))

    def _here(
        self, ctx: Context, group: Sequence[Asked], *, waits: bool = False
    ) -> Sequence[_Done[Proved, Settled]]:
        try:
            proved = self._prove_all(ctx, group)
        except Exception as error:  # noqa: BLE001 - it is told to whom it concerns
            if len(group) == 1 or _concerns_all(error):
                return [error] * len(group)
            return self._each_alone(ctx, group)
        return self._settle_all(ctx, group, proved, waits=waits)

    def _each_alone(self, ctx: Context, group: Sequence[Asked]) -> Sequence[_Done[Proved, Settled]]:
        done: list[_Done[Proved, Settled]] = []
        for number, asked in enumerate(group):
            done += self._here(ctx, [asked])
            if _concerns_all(done[-1]):  # nobody waits in vain for what the one before waited for
                return [*done, *[done[-1]] * (len(group) - number - 1)]
        return done

    def _prove_all(self, ctx: Context, group: Sequence[Asked]) -> list[Proved | Exception]:
        with ctx.database.reading() as connection:
            known = self.gather(connection, group)

        def prove(turn: Context, pair: tuple[Asked, Known | Exception]) -> Proved | Exception:
            asked, found = pair
            return found if isinstance(found, Exception) else _said(self.prove, turn, asked, found)

        def keys_of(pair: tuple[Asked, Known | Exception]) -> Sequence[FleetingRef]:
            _, found = pair
            return () if isinstance(found, Exception) else self.keys_of(found)

        return ctx.in_turns(self.kind, prove, list(zip(group, known, strict=True)), keys_of)

    def _settle_all(
        self, ctx: Context, group: Sequence[Asked], proved: Sequence[Proved | Exception], *, waits: bool
    ) -> Sequence[_Done[Proved, Settled]]:
        right = {number: each for number, each in enumerate(proved) if not isinstance(each, Exception)}
        numbers = sorted(right, key=lambda number: self.order(right[number]))
        pairs = [(group[number], right[number]) for number in numbers]
        settle = partial(self._settle_here, waits=waits)
        settled = ctx.unit_of_all_here(settle, pairs)
        away: Exception | None = None
        for place, pair in enumerate(pairs):
            if settled[place] is Left.LEFT:
                found = settled[place] = away or ctx.unit_of_all_here(settle, [pair])[0]
                away = found if isinstance(found, Exception) and _concerns_all(found) else None
        done = dict(zip(numbers, settled, strict=True))

        def told(number: int, each: Proved | Exception) -> _Done[Proved, Settled]:
            if isinstance(each, Exception):
                return each
            found = done[number]
            return found if isinstance(found, Exception | Left) else (each, found)

        return [told(number, each) for number, each in enumerate(proved)]

    def _settle_here(
        self, connection: Connection, pairs: Sequence[tuple[Asked, Proved]], *, waits: bool
    ) -> Sequence[Settled | Left]:
        if len(pairs) == 1 and not waits and not self.is_free(connection, pairs[0][1]):
            return [Left.HELD]
        return self.settle(connection, pairs)


def _concerns_all(error: object) -> bool:
    """Say whether device or database are away; a key may be away with a token while the others' are there."""
    return isinstance(error, DeviceUnavailable | Outage) and not isinstance(
        error, KeyElsewhere | Blocked | Collision
    )


def for_each(step: Callable[[Item], Known], items: Sequence[Item]) -> list[Known | Exception]:
    """Return what a step gives for each of these, or why it refuses."""
    return [_said(step, item) for item in items]


def _said(step: Callable[..., Proved], *args: object) -> Proved | Exception:
    try:
        return step(*args)
    except (Refusal, WireError) as refusal:
        return refusal
