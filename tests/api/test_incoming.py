"""Is a body cut into parts of one size however it comes, and is a slow one given up?"""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from gateway.api import incoming
from gateway.api.incoming import read_incoming
from gateway.refusals import Refusal

PART, MOST = 8, 64
pieces = st.lists(st.binary(max_size=3 * PART), max_size=12)


def _request(chunks: Sequence[bytes], pauses: float = 0, **headers: str) -> Request:
    """A request whose body comes in these chunks, with a pause before each."""
    left: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    left.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Message:
        await asyncio.sleep(pauses)
        return left.pop(0)

    sent = {"content-type": "application/pdf", **{name.replace("_", "-"): headers[name] for name in headers}}
    encoded = [(name.encode(), value.encode()) for name, value in sent.items()]
    return Request({"type": "http", "method": "POST", "headers": encoded}, receive)


async def _read(request: Request) -> list[bytes]:
    return [part async for part in read_incoming(request, MOST, PART).parts]


@given(chunks=pieces)
def test_parts_have_one_size_but_for_the_last_and_hold_every_byte(chunks: list[bytes]):
    content = b"".join(chunks)
    if len(content) > MOST:
        with pytest.raises(Refusal, match="too_large"):
            asyncio.run(_read(_request(chunks)))
        return
    found = asyncio.run(_read(_request(chunks)))
    assert b"".join(found) == content
    assert {len(part) for part in found[:-1]} <= {PART}
    assert all(found)


def test_a_part_that_does_not_come_in_its_time_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(incoming, "PART_SECONDS", 0.03)
    with pytest.raises(Refusal, match="too_slow"):
        asyncio.run(_read(_request([b"x"] * PART, pauses=0.01)))


def test_parts_that_come_in_time_are_given_up_when_all_take_too_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(incoming, "ALL_SECONDS", 0.03)
    with pytest.raises(Refusal, match="too_slow"):
        asyncio.run(_read(_request([b"x" * PART] * 8, pauses=0.01)))


def test_what_was_declared_is_the_most_that_comes():
    assert read_incoming(_request([], content_length="9"), MOST, PART).size_most == 9
    assert read_incoming(_request([]), MOST, PART).size_most == MOST
    with pytest.raises(Refusal, match="too_large"):
        read_incoming(_request([], content_length=str(MOST + 1)), MOST, PART)
