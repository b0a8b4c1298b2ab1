"""Is everything kept that the core document wants kept: does the store delete nothing but what is spent?

Content goes when its transaction has ended, its hash stays; the others are marks that have run out, notes of keys on
the token, and devices to be woken. What is added here must be no record of users, keys, attempts or events.
"""

import re

from tests.house.tree import ROOT

SPENT = {"contents", "uploads", "replays", "idempotency", "loose_keys", "pushes", "house_keys"}
_BUILT = re.compile(r"\bsa\.delete\((\w+)|\b(\w+)\.delete\(\)")
_WRITTEN = re.compile(r"\b(?:DELETE FROM|TRUNCATE|DROP TABLE)\s+(\w+)")


def test_no_record_is_ever_deleted() -> None:
    found: set[str] = set()
    for source in (ROOT / "gateway").rglob("*.py"):
        text = source.read_text()
        if "migrations" not in source.parts:
            found |= {first or second for first, second in _BUILT.findall(text)} | set(_WRITTEN.findall(text))
    assert "contents" in found
    assert found <= SPENT
