"""How do several requests share the device: all in one turn, or, where it is slow, each in a turn of its own?"""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import chain
from typing import TypeVar

from hsm.any_device import AnyDevice
from hsm.desk import Desk
from hsm.keys import FleetingRef

Item = TypeVar("Item")
Result = TypeVar("Result")

_SLOW_SECONDS = 0.005  # of the device for one request


class DeviceTurns:
    """Shares the device, and knows how long it took lately for each kind of request."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, deque[float]] = defaultdict(
            partial(deque, maxlen=20)
        )  # for one request

    def share(
        self,
        kind: str,
        device: AnyDevice,
        threads: Executor,
        work: Callable[[Desk, Sequence[Item]], list[Result]],
        items: Sequence[Item],
        keys_of: Callable[[Item], Sequence[FleetingRef]],
    ) -> list[Result]:
        """Do the work for all items and return their results in order. Talks to the device.

        Args:
            kind: of request.
            device: where.
            threads: those in which items have turns side by side.
            work: what is done for some items in one turn; it must change nothing, as it may be begun again.
            items: for which.
            keys_of: the keys of an item that are not on the token.
        """
        seconds = self._seconds[kind]

        def turn(some: Sequence[Item]) -> list[Result]:
            began = time.perf_counter()
            done = device.together(
                lambda desk: work(desk, some), [key for each in some for key in keys_of(each)]
            )
            seconds.append((time.perf_counter() - began) / len(some))
            return done

        if not items:
            return []
        is_slow = min(seconds, default=0.0) > _SLOW_SECONDS  # a busy machine has quick moments, too
        if not is_slow:
            return turn(items)
        return list(chain.from_iterable(threads.map(turn, ([each] for each in items))))
