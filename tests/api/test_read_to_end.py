"""Is what is left of a refused request read for as long as that helps, and no longer?"""

import asyncio

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message

from gateway.api import read_to_end
from gateway.api.read_to_end import ReadToEnd


def test_a_caller_who_never_ends_gets_its_answer_and_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_to_end, "_REST_SECONDS", 0.05, raising=False)
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(0.001)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    async def refuse() -> None:
        door = ReadToEnd(PlainTextResponse("no", status_code=401))
        async with asyncio.timeout(10):
            await door({"type": "http", "method": "POST", "headers": []}, receive, send)

    asyncio.run(refuse())
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
