"""What is a push service to the worker: something that wakes the phone of an address, or says why not.

A push says that something waits, in constant words, and nothing else: not what, not of whom, not how much.
Texts of the exceptions go into log and events: they never hold an address.
"""

import contextlib
import json
import re
from typing import Any, Protocol

import httpx2

WAITING = b'{"waiting":true}'  # all that a phone is ever told
COLLAPSE = "waiting"  # under this key a push replaces one that was not delivered yet
_WORD = re.compile(r"[A-Za-z0-9_]{1,40}")
_SUCCESS = 2  # hundred and something
_ANSWER_BYTES_MOST = 16 * 1024
_PAUSE_SECONDS_MOST = 86400


class NotWoken(Exception):
    """A try failed. ``final``: the next would as well. ``pause_seconds``: what the service asked for."""

    def __init__(self, why: str, *, pause_seconds: int = 0, final: bool = False) -> None:
        super().__init__(why)
        self.pause_seconds, self.final = pause_seconds, final


class AddressGone(Exception):
    """The service knows no phone of this address, and will not know one again."""


class Provider(Protocol):
    """One push service. Serves many tries at once, within one event loop."""

    async def wake(self, push_id: str, seconds: int) -> None:
        """Ask the service to wake the phone, and to forget about it after so many seconds.

        Raises:
            NotWoken: it did not take the push.
            AddressGone: there is no such phone any more.
        """

    async def close(self) -> None:
        """Close the connections."""


def is_success(status: int) -> bool:
    """Say whether the service took the push."""
    return status // 100 == _SUCCESS


def not_taken(answer: httpx2.Response, reason: str = "") -> NotWoken:
    """Return what an answer means that says no, but not that the phone is gone."""
    status = answer.status_code
    asked = answer.headers.get("retry-after", "")
    # The other form, a date, is as good as none: there is a pause anyway.
    pause = min(int(asked), _PAUSE_SECONDS_MOST) if asked.isascii() and asked.isdigit() else 0
    why = f"answered with status {status}" + (f" {reason}" if reason else "")
    return NotWoken(why, pause_seconds=pause, final=status in (400, 405, 413))


async def read_json(answer: httpx2.Response) -> dict[str, Any]:
    """Return the object in the body of an open answer; an empty one where it holds none, or is too long."""
    body = b""
    with contextlib.suppress(ValueError, RecursionError):
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > _ANSWER_BYTES_MOST:
                return {}
        found = json.loads(body)
        if isinstance(found, dict):
            return found
    return {}


def word_of(value: object) -> str:
    """Return the reason a service names, if it is one plain word: nothing else of an answer gets into a log."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""
