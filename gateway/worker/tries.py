"""Which tries are under way, for whom, and what did one fail with that was nobody's fault outside?"""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any


class Tries:
    """The tries a worker has begun; each belongs to somebody, so that none takes the room of others."""

    def __init__(self) -> None:
        self._running: dict[asyncio.Task[None], str] = {}
        self._failure: BaseException | None = None

    def begin(self, owner: str, work: Coroutine[Any, Any, None]) -> None:
        """Begin a try for somebody."""
        task = asyncio.ensure_future(work)
        self._running[task] = owner
        task.add_done_callback(self._ended)

    def busy(self) -> Counter[str]:
        """Return how many are under way, for each owner."""
        return Counter(self._running.values())

    async def wait(self, seconds: float) -> bool:
        """Wait until one of them has ended, at most so long; False at once if there is none."""
        if not self._running:
            return False
        await asyncio.wait(self._running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return True

    async def finish(self) -> None:
        """Wait for every one of them; raises as ``raise_failure``."""
        await asyncio.gather(*self._running, return_exceptions=True)
        self.raise_failure()

    def raise_failure(self) -> None:
        """Raise what one of them failed with since the last call: an outage, or a bug."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if not task.cancelled() and task.exception() is not None:
            self._failure = task.exception()
