"""Does the page that says what shows the gateway's work name tests that exist, and at least one for each row?"""

import re

from tests.house.tree import ROOT

PAGE = ROOT / "docs" / "reference" / "specification.md"
_NAMED = re.compile(r"\w+/test_\w+\.py(?:::test_\w+)?")
_LEAST_ROWS = 35


def _rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if "| shown by |" not in line
    ]


def test_every_row_names_a_test_and_every_test_exists() -> None:
    rows = _rows()
    assert len(rows) >= _LEAST_ROWS
    assert [row[0] for row in rows if not _NAMED.findall(row[2])] == []
    missing = []
    for row in rows:
        for named in _NAMED.findall(row[2]):
            path, _, name = named.partition("::")
            source = ROOT / "tests" / path
            if not source.is_file() or (name and f"def {name}(" not in source.read_text()):
                missing.append(named)
    assert missing == []


def test_every_part_that_is_named_exists() -> None:
    parts = [part for row in _rows() for part in re.findall(r"`([\w/.]+)`", row[1])]
    assert parts
    assert [
        part for part in parts if not any((ROOT / home / part).exists() for home in ("gateway", "."))
    ] == []
