"""Does an application that sends many large requests at once fill the memory, or keep another's from being read?"""

import asyncio
import json
import threading
from dataclasses import dataclass, field

import pytest
from starlette.types import Message

from gateway.api.application.asking import Ask
from gateway.api.application.door import application_door
from gateway.api.application.handlers import transactions as handlers
from gateway.api.application.models import VerifySignature
from gateway.api.large_bodies import LargeBodies
from gateway.api.requests import Peers
from gateway.api.throttle import Throttle
from gateway.refusals import Refusal
from gateway.scenarios import operating
from gateway.scenarios.access import DEFAULT_SCOPES
from gateway.scenarios.idempotency import Once
from tests.scenarios.bench import ORIGIN, Bench, run

MOST, LARGE, SOON_SECONDS = 4, 200_000, 60


@dataclass
class Caller:
    """One request of an application, that stops after its first bytes until it is let go on."""

    api_key: str
    body: bytes
    length: str = "declared"
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    is_read: bool = False
    status: int = 0

    async def call(self, door: object) -> None:
        """Send it, and keep the status of the answer."""
        headers = {
            "authorization": f"Bearer {self.api_key}",
            "content-type": "application/json",
            "idempotency-key": str(id(self)),
        }
        if self.length == "declared":
            headers["content-length"] = str(len(self.body))
        if self.length == "declared as small, and sent in chunks":  # the server reads the chunks then
            headers |= {"content-length": "10", "transfer-encoding": "chunked"}
        path = "/v1/transactions"
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        await door(scope, self._receive, self._send)  # type: ignore[operator]

    async def _receive(self) -> Message:
        if not self.is_read:
            self.is_read = True
            return {"type": "http.request", "body": self.body[:1000], "more_body": True}
        await self.go_on.wait()
        return {"type": "http.request", "body": self.body[1000:], "more_body": False}

    async def _send(self, message: Message) -> None:
        self.status = message.get("status", self.status)


def _body(text: str) -> bytes:
    return json.dumps({"user": "nobody", "media_type": "text/plain", "text": text}).encode()


@pytest.mark.parametrize("length", ["declared", "not declared", "declared as small, and sent in chunks"])
def test_only_so_many_large_requests_of_one_application_are_read_at_a_time(bench: Bench, length: str) -> None:
    async def attack() -> None:
        clock = bench.clock
        door = application_door(bench.ctx, Peers.named([]), Throttle(100, clock), LargeBodies(MOST))
        keys = []
        for name in ("greedy", "other"):
            new = await operating.add_application(
                bench.ctx, f"{name} {length}", None, DEFAULT_SCOPES, bench.asker.application.policy
            )
            keys.append(new.api_key)
        greedy = [Caller(keys[0], _body("x" * LARGE), length) for _ in range(3 * MOST)]
        sending = [asyncio.create_task(caller.call(door)) for caller in greedy]
        # Another's are read meanwhile, and small ones of the same application as well.
        for key, size in ((keys[1], LARGE), (keys[0], 10)):
            caller = Caller(key, _body("x" * size))
            caller.go_on.set()
            async with asyncio.timeout(SOON_SECONDS):
                await caller.call(door)
            assert caller.status == 404  # there is no such user
        async with asyncio.timeout(SOON_SECONDS):
            while sum(caller.is_read for caller in greedy) < MOST // 2:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.005)
        assert sum(caller.is_read for caller in greedy) == MOST // 2
        for caller in greedy:
            caller.go_on.set()
        async with asyncio.timeout(SOON_SECONDS):
            await asyncio.gather(*sending)
        assert {caller.status for caller in greedy} == {404}

    run(attack())


@pytest.mark.parametrize("size", [10, LARGE])
def test_a_large_question_keeps_nobody_waiting_while_it_is_hashed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    threads: list[threading.Thread] = []
    read = handlers.content_of

    def noted(*given: str | None) -> bytes:
        threads.append(threading.current_thread())
        return read(*given)

    monkeypatch.setattr(handlers, "content_of", noted)
    body = VerifySignature(transaction="txn_none", text="x" * size, step=1, code="123456")
    once = Once(None, bytes(32))
    ask = Ask(asker=bench.asker, path={}, query={}, body=body, once=once, origin=ORIGIN)
    with pytest.raises(Refusal, match="not_found"):
        run(handlers.verify(bench.ctx, ask))
    assert [thread is threading.main_thread() for thread in threads] == [size < LARGE]
