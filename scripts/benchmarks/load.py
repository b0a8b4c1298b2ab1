"""How is a server kept busy at little cost: kept connections, ready-made bytes, answers looked at afterwards."""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

_LENGTH = b"content-length:"
_GOODBYE = b"connection: close"  # servers end a connection after some number of requests
_END_OF_HEAD = b"\r\n\r\n"
_ANSWER_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it came, which request (by number) it is for, and how long it took."""

    number: int
    seconds: float
    head: bytes
    body: bytes

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.head[9:12])

    def headers(self) -> dict[str, str]:
        """The headers by lower-case name."""
        lines = (line.partition(":") for line in self.head.decode("latin-1").split("\r\n")[1:])
        return {name.lower(): value.strip() for name, _, value in lines}


@dataclass(frozen=True, slots=True)
class Burst:
    """What came of one burst: the answers, and the seconds from the first request to the last answer."""

    answers: list[Answer]
    seconds: float


class Line(asyncio.Protocol):
    """One connection at a time: a request, its answer, the next request, until the supply ends."""

    def __init__(self, port: int, supply: Iterator[tuple[int, bytes]], answers: list[Answer]) -> None:
        self._port, self._supply, self._answers = port, supply, answers
        self._received, self._wanted, self._head_size = b"", 0, 0
        self._number, self._sent_at = -1, 0.0  # -1: nothing is under way
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()

    async def connect(self) -> None:
        """Connect, or connect anew; nothing is sent yet."""
        await self._loop.create_connection(lambda: self, "127.0.0.1", self._port)

    async def _go_on(self) -> None:
        await self.connect()
        self.send_next()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def send_next(self) -> None:
        """Send the next request, or close when there is none."""
        following = next(self._supply, None)
        if following is None:
            self.ended.set_result(None)
            self._transport.close()
            return
        self.send(*following, time.perf_counter())

    def send(self, number: int, wire: bytes, since: float) -> None:
        """Send one request, whose time counts from `since`."""
        self._received, self._wanted = b"", 0
        self._number, self._sent_at = number, since
        self._transport.write(wire)

    def close(self) -> None:
        """Close the connection; nothing may be under way."""
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Collect one answer."""
        self._received += data
        if not self._wanted:
            self._measure()
        if self._wanted and len(self._received) >= self._wanted:
            took = time.perf_counter() - self._sent_at
            head, body = self._received[: self._head_size], self._received[self._head_size + 4 :]
            self._answers.append(Answer(self._number, took, head, body))
            self._number = -1
            if _GOODBYE in head.lower():
                self._transport.close()
                self._reconnecting = self._loop.create_task(self._go_on())
            else:
                self.send_next()

    def _measure(self) -> None:
        self._head_size = self._received.find(_END_OF_HEAD)
        if self._head_size < 0:
            return
        start = self._received.lower().find(_LENGTH, 0, self._head_size)
        if start < 0:
            self._fail(ConnectionError("an answer without Content-Length"))
            return
        length = self._received[start + len(_LENGTH) :].partition(b"\r")[0]
        self._wanted = self._head_size + len(_END_OF_HEAD) + int(length)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail if an answer was still to come."""
        if self._number >= 0:
            self._fail(exc or ConnectionError("the server closed the connection"))

    def _fail(self, why: Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(why)


def run_burst(
    ports: Sequence[int],
    requests: Iterator[tuple[int, bytes]],
    seconds: float,
    connections: int,
    before: Callable[[], None],
) -> Burst:
    """Keep `connections` requests under way until the time is over or the requests are used up, spread over `ports`.

    `before` is called when everybody is connected, right before the first request. Raises OSError, TimeoutError.
    """
    gc.collect()
    gc.disable()  # so that no pause of ours is taken for one of the server
    try:
        return asyncio.run(_burst(ports, requests, seconds, connections, before))
    finally:
        gc.enable()


async def _burst(
    ports: Sequence[int],
    requests: Iterator[tuple[int, bytes]],
    seconds: float,
    connections: int,
    before: Callable[[], None],
) -> Burst:
    answers: list[Answer] = []
    deadline = float("inf")

    def supply() -> Iterator[tuple[int, bytes]]:
        while time.perf_counter() < deadline and (following := next(requests, None)) is not None:
            yield following

    shared = supply()
    lines = [Line(ports[number % len(ports)], shared, answers) for number in range(connections)]
    for line in lines:
        await line.connect()
    before()
    started = time.perf_counter()
    deadline = started + seconds
    for line in lines:
        line.send_next()
    await asyncio.wait_for(asyncio.gather(*(line.ended for line in lines)), seconds + _ANSWER_SECONDS)
    return Burst(answers, time.perf_counter() - started)
