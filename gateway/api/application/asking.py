"""What does a handler get to see of a request of an application."""

from dataclasses import dataclass
from typing import Any

from gateway.scenarios.access import Asker
from gateway.scenarios.idempotency import Once
from gateway.scenarios.recording import Origin

PAGE = 50  # entries, where the request names no number
PAGE_MOST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """An authenticated, well-formed request: path, query and body values were checked for form."""

    asker: Asker
    path: dict[str, str]
    query: dict[str, str]
    body: Any
    once: Once
    origin: Origin
    last_event_id: int | None = None

    @property
    def limit(self) -> int:
        """Most entries of a page."""
        return self.number("limit", PAGE)

    def number(self, name: str, default: int) -> int:
        """Return a query parameter as a number."""
        return int(self.query.get(name, default))
