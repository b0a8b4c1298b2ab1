"""In which order do the files of tests run: those that use a stage first, and those that take no time last.

A gateway looks for what is due as long as it runs, so the stages end when no test is left that uses one. And no
worker is left with a long file while the other has none. `scripts/test` has xdist keep to this order.
"""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent
QUICK = tuple(ROOT / name for name in ("rules", "vectors", "wire"))


def files_on_stage(items: list[pytest.Item]) -> set[Path]:
    """Return the files with a test that uses a stage."""
    return {item.path for item in items if "stage" in getattr(item, "fixturenames", ())}


def sort(items: list[pytest.Item]) -> None:
    """Put the files in order; tests of a file stay as they are."""
    staged = files_on_stage(items)
    items.sort(key=lambda item: (item.path not in staged, any(map(item.path.is_relative_to, QUICK))))
