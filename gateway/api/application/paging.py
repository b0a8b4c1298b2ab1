"""How is a long list given: in pages, each of which says where the next begins?"""

from collections.abc import Sequence
from typing import Any

from gateway.api.application.asking import Ask
from gateway.api.problems import Reply, json_reply


def page_of(ask: Ask, name: str, entries: Sequence[dict[str, Any]], *, by: str = "id") -> Reply:
    """Return a page of the list of this name, of ``ask.limit`` entries at most.

    ``next`` is the ``after`` of the next page: the member ``by`` of the last entry, or None where no page follows.
    """
    is_full = len(entries) == ask.limit
    return json_reply(200, {name: entries, "next": entries[-1][by] if is_full else None})
