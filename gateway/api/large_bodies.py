"""How many large bodies does a process hold at a time, and how many of one application?

Each is in memory several times over: as it came, read, and decoded. Who comes beyond that waits with its body unread,
in a line of its application, so that one of them fills neither the memory nor the room of the others.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.scenarios.fair_share import Lines


class LargeBodies:
    """The room for them.

    Args:
        most: of all; one application has at most half of them, but one at least.
    """

    def __init__(self, most: int) -> None:
        self._room, self._lines = asyncio.Semaphore(most), Lines(most // 2)

    @asynccontextmanager
    async def held(self, application_id: str) -> AsyncIterator[None]:
        """Wait for room, and have it for as long as the block lasts."""
        end = await self._lines.turn(application_id)
        try:
            async with self._room:
                yield
        finally:
            end()
