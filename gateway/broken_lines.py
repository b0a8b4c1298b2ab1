"""What becomes of an HTTP/2 connection that breaks, and of the requests on it?

The server has an answer wait until it is sent, also where nobody sends any more: requests of a caller who went away
stayed for ever, with connection and TLS. And what it cannot read in a request (a path that is not ASCII, say) took away
every request of the connection, and left it open. Both were found in hypercorn 0.18.
"""

import hypercorn.protocol
import structlog
from hypercorn.events import Closed, Event, Updated
from hypercorn.protocol.h2 import H2Protocol

_log = structlog.get_logger("gateway")


class _Http2(H2Protocol):
    async def send_task(self) -> None:
        """Send what is to be sent; whoever waits for it after that waits for nothing."""
        try:
            await super().send_task()
        finally:
            for buffer in list(self.stream_buffers.values()):
                await buffer.close()

    async def handle(self, event: Event) -> None:
        """Take in what came; what cannot be read ends the connection as if the caller had ended it."""
        try:
            await super().handle(event)
        except Exception as error:  # noqa: BLE001 - it is a stranger's: nobody else may notice it
            _log.info("connection broke", why=type(error).__name__)
            await self.send(Closed())
        if isinstance(event, Closed):
            await self.send(Updated(idle=False))  # or it would be kept as one that may be used again
            self.send = _nowhere


async def _nowhere(_: Event) -> None:
    pass


def mend_server() -> None:
    """Have the server treat connections of this process so."""
    hypercorn.protocol.H2Protocol = _Http2  # type: ignore[attr-defined]
