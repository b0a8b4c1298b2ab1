"""What do all push services have in common? HTTP/1.1 and HTTP/2 over TLS on the loopback, and a memory of requests."""

import asyncio
import base64
import binascii
import json
import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypercorn.asyncio import serve
from hypercorn.config import Config

Json = dict[str, Any]
BODY_MOST = 4096  # no push service takes more


class Refused(Exception):
    """The service does not take the push: the status and the object it answers with."""

    def __init__(self, status: int, body: Json | None = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} {body}")
        self.status, self.body, self.headers = status, body or {}, headers or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as it came, and the status it was answered with."""

    version: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int = 0


class PushServer:
    """A push service in a thread; a subclass answers. Use it in a ``with`` statement."""

    def __init__(self, chain: Path, key: Path, clock: Callable[[], datetime] | None = None) -> None:
        self.asked: list[Asked] = []
        self.refusals: list[Refused] = []  # for the next requests, one each
        self.holds = False  # answers, until it does no more
        self.held = 0  # requests that wait for that
        self.now = clock or (lambda: datetime.now(UTC))
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(listener.getsockname()[1])
        self._config = Config()
        self._config.bind = [f"fd://{listener.detach()}"]  # the server closes it
        self._config.certfile, self._config.keyfile = str(chain), str(key)
        self._config.alpn_protocols = ["h2", "http/1.1"]
        self._config.accesslog, self._config.errorlog = None, logging.getLogger("push-service")
        self._config.graceful_timeout = self._config.shutdown_timeout = 1
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._started = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(20), "the push service does not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"https://127.0.0.1:{self.port}"

    def answer(self, asked: Asked) -> tuple[int, Json, dict[str, str]]:
        """Take a push: status, object and headers of the answer; raises Refused."""
        raise NotImplementedError

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()

        async def stopped() -> None:
            self._started.set()
            await self._stop.wait()

        await serve(self._app, self._config, shutdown_trigger=stopped)  # type: ignore[arg-type]

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        body, more = b"", True
        while more and len(body) <= BODY_MOST:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        await self._hold()
        status, found, headers = self._judge(scope, body)
        raw = json.dumps(found).encode() if found else b""
        named = {"content-length": str(len(raw)), **headers}
        lines = [(name.encode(), value.encode()) for name, value in named.items()]
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": raw})

    async def _hold(self) -> None:
        self.held += 1
        while self.holds and not self._stop.is_set():  # noqa: ASYNC110 - a test ends it, from another thread
            await asyncio.sleep(0.005)
        self.held -= 1

    def _take(self, method: str, asked: Asked) -> tuple[int, Json, dict[str, str]]:
        if method != "POST":
            raise Refused(405)
        if len(asked.body) > BODY_MOST:
            raise Refused(413)
        if self.refusals:
            raise self.refusals.pop(0)
        return self.answer(asked)

    def _judge(self, scope: Any, body: bytes) -> tuple[int, Json, dict[str, str]]:
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        asked = Asked(version=scope["http_version"], path=scope["path"], headers=headers, body=body)
        try:
            status, found, more = self._take(scope["method"], asked)
        except Refused as refused:
            status, found, more = refused.status, refused.body, refused.headers
        self.asked.append(
            Asked(version=asked.version, path=asked.path, headers=headers, body=body, status=status)
        )
        return status, found, more


def unb64url(text: str) -> bytes:
    """The bytes of base64url without padding; raises ValueError."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error


def b64url(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def split_token(token: str) -> tuple[Json, Json, bytes, bytes]:
    """Header, claims, signed bytes and signature of a compact JWT, not verified yet; raises ValueError."""
    head, claims, signature = token.split(".")
    return (
        json.loads(unb64url(head)),
        json.loads(unb64url(claims)),
        f"{head}.{claims}".encode(),
        unb64url(signature),
    )


def der_of(signature: bytes) -> bytes:
    """An ES256 signature (r and s, 32 bytes each) as `cryptography` takes it; raises ValueError."""
    if len(signature) != 64:
        raise ValueError("an ES256 signature has 64 bytes")
    return encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
