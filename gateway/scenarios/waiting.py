"""Who waits for a change: long-polls, woken at once by this process and soon by any other.

Changes made here wake their waiters directly; changes by other processes are seen by ``change_watch``, or at the next
look.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

LOOK_SECONDS = 0.5
MOST_WAIT_SECONDS = 30
_LATELY = 4096  # wakes that are remembered: those of some seconds


class Waiters:
    """Events by topic, e.g. one transaction's id or one user's pending list."""

    def __init__(self) -> None:
        self._topics: dict[str, set[asyncio.Event]] = {}
        self._lately: deque[str] = deque(maxlen=_LATELY)
        self.wakes = 0  # how often somebody was woken for something
        self._closing = False

    @property
    def closing(self) -> bool:
        """Whether the process is about to stop."""
        return self._closing

    def wake(self, topic: str) -> None:
        """Wake everybody who waits for the topic in this process. Call it on the event loop."""
        for event in self._topics.get(topic, ()):
            event.set()
        self._lately.append(topic)
        self.wakes += 1

    def was_woken(self, topic: str, since: int) -> bool:
        """Say whether the topic was woken for after so many ``wakes``; True as well where nobody knows any more."""
        later = self.wakes - since
        return later > len(self._lately) or topic in islice(reversed(self._lately), later)

    def close(self) -> None:
        """Let every waiter answer now: the process is about to stop."""
        self._closing = True
        self.wake_all()

    def wake_all(self) -> None:
        """Wake everybody who waits in this process, or is about to."""
        for topic in self._topics:
            self.wake(topic)
        self._lately.clear()
        self.wakes += 1

    async def until(
        self,
        topic: str,
        seconds: float,
        look: Callable[[], Awaitable[T]],
        done: Callable[[T], bool],
        look_seconds: float = LOOK_SECONDS,
        *,
        looks_at_end: bool = True,
    ) -> T:
        """Look until it is done or the time is over, and return what was seen last.

        Args:
            topic: what to be woken for.
            seconds: most seconds to wait; 0 looks once.
            look: fetches the present state.
            done: says whether the state is worth an answer.
            look_seconds: most seconds from one look to the next, where nobody wakes it.
            looks_at_end: False where whatever changes wakes it, so that what was seen before still holds when the time
                is over.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + min(seconds, MOST_WAIT_SECONDS)
        event = asyncio.Event()
        self._topics.setdefault(topic, set()).add(event)
        try:
            while True:
                event.clear()
                seen = await look()
                left = deadline - loop.time()
                if done(seen) or left <= 0 or self._closing:
                    return seen
                try:
                    await asyncio.wait_for(event.wait(), min(look_seconds, left))
                except TimeoutError:
                    if left <= look_seconds and not looks_at_end:
                        return seen
        finally:
            self._topics[topic].discard(event)
            if not self._topics[topic]:
                del self._topics[topic]
