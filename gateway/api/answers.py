"""What might an answer look like: examples for the OpenAPI documents, recorded from a gateway, by call and action.

A test tells the same story again and compares.
"""

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("answers.json")


def recorded(door: str) -> dict[str, Any]:
    """Return the examples of the `application` or the `client` door by the name of the operation."""
    found: dict[str, dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return found[door]
