"""Does anything stay in a process of a caller whose HTTP/2 connection breaks?"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from h2.config import H2Configuration
from h2.connection import H2Connection
from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.types import Message, Receive, Scope, Send

import gateway.serving  # noqa: F401  # mends the server
from tests.gateways import free_port

SOON_SECONDS = 30


class Door:
    """Reads each request to its end, and then answers, whether somebody is there or not."""

    def __init__(self) -> None:
        self.begun, self.ended = asyncio.Event(), asyncio.Event()
        self.seen: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await send({"type": f"{(await receive())['type']}.complete"})
            await receive()
            return
        self.begun.set()
        try:
            more = True
            while more:
                message = await receive()
                self.seen.append(message["type"])
                more = message.get("more_body", False)
            start: Message = {"type": "http.response.start", "status": 404, "headers": []}
            await send(start)
            await send({"type": "http.response.body", "body": b"no"})
            self.seen.append("answered")
        finally:
            self.ended.set()


@asynccontextmanager
async def _served(door: Door) -> AsyncIterator[int]:
    """Serve a door, and give its port."""
    config, stop, port = Config(), asyncio.Event(), free_port()
    config.bind, config.graceful_timeout = [f"127.0.0.1:{port}"], 0.1
    serving = asyncio.create_task(serve(door, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
    for _ in range(500):
        with socket.socket() as line:
            if line.connect_ex(("127.0.0.1", port)) == 0:
                break
        await asyncio.sleep(0.01)
    try:
        yield port
    finally:
        stop.set()
        async with asyncio.timeout(SOON_SECONDS):
            await serving


def _asked(connection: H2Connection, stream: int, path: bytes) -> bytes:
    """Return the bytes of a request whose body does not come to its end."""
    named = {b":method": b"POST", b":authority": b"x", b":scheme": b"http", b":path": path}
    connection.send_headers(stream, list(named.items()))
    return connection.data_to_send()


def _connection() -> H2Connection:
    made = H2Connection(H2Configuration(header_encoding=None))
    made.initiate_connection()
    return made


def test_a_request_ends_when_the_answer_has_nowhere_to_go() -> None:
    async def break_off() -> list[str]:
        door, phone = Door(), _connection()
        async with _served(door) as port:
            _, line = await asyncio.open_connection("127.0.0.1", port)
            line.write(_asked(phone, 1, b"/client/v1/transactions.pending"))
            async with asyncio.timeout(SOON_SECONDS):
                await door.begun.wait()
                line.close()
                await door.ended.wait()
        return door.seen

    assert asyncio.run(break_off()) == ["http.disconnect", "answered"]


def test_what_the_server_cannot_read_breaks_the_connection_and_takes_no_request_away() -> None:
    async def say_nonsense() -> list[str]:
        door, phone = Door(), _connection()
        async with _served(door) as port:
            answer, line = await asyncio.open_connection("127.0.0.1", port)
            line.write(_asked(phone, 1, b"/v1/transactions"))
            async with asyncio.timeout(SOON_SECONDS):
                await door.begun.wait()
                line.write(_asked(phone, 3, b"/v1/\xff"))
                while await answer.read(65536):
                    pass
                await door.ended.wait()
            line.close()
        return door.seen

    assert asyncio.run(say_nonsense()) == ["http.disconnect", "answered"]
