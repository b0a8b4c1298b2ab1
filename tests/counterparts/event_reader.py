"""How does a bank follow the event log: server-sent events, read as the HTML standard says (section 9.2.6)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.counterparts.bank import Bank

PATH = "/v1/events/stream"


@dataclass
class Reader:
    """One open stream: what was read, and where to go on after it breaks."""

    answer: httpx2.Response
    last_id: str = ""
    comments: int = 0
    _lines: Iterator[str] = field(default_factory=lambda: iter(()))

    def __post_init__(self) -> None:
        self._lines = self.answer.iter_lines()

    def events(self) -> Iterator[dict[str, Any]]:
        """Give the data of each event of the log, until the stream ends."""
        for kind, data in self._dispatched():
            if kind == "message":
                yield json.loads(data)

    def _dispatched(self) -> Iterator[tuple[str, str]]:
        kind, data = "", []
        for line in self._lines:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                if data:
                    yield kind or "message", "\n".join(data)
                kind, data = "", []
            elif not name:
                self.comments += 1
            elif name == "event":
                kind = value
            elif name == "data":
                data.append(value)
            elif name == "id":
                self.last_id = value


@contextmanager
def following(bank: Bank, *, last_id: str | None = None, **query: Any) -> Iterator[Reader]:
    """Follow, from now on or from after the event of ``last_id``; the block's end hangs up."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    with bank.stream(PATH, headers=headers, params=query) as answer:
        assert answer.headers["content-type"] == "text/event-stream", answer.read()
        yield Reader(answer)
