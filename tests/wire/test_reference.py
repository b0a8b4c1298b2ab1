"""Does the published reference say what the code does?"""

import json
import re
from pathlib import Path

import pytest

from gateway.api.client.actions import ACTIONS
from gateway.wire.bodies import MOST_PIECE_BYTES, MOST_WAIT_SECONDS
from gateway.wire.policy import DeviceFields, Flags
from gateway.wire.request import MOST_REQUEST_BYTES
from gateway.wire.secret import ALPHABET, CHOSEN_ITERATIONS, MOST_ITERATIONS, RANDOM_ITERATIONS
from tests.vectors.writing import door

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = (ROOT / "docs" / "reference" / "wire.md").read_text(encoding="utf-8")
SOURCES = sorted((ROOT / "gateway" / "wire").glob("*.py"))
VECTORS = "".join(
    json.dumps(json.loads(path.read_text(encoding="utf-8")), ensure_ascii=False)
    for path in sorted((ROOT / "tests" / "vectors").glob("*.json"))
)
BLOCKS = re.findall(r"^```\w*\n(.*?)^```", REFERENCE, re.MULTILINE | re.DOTALL)


def _worked_values() -> set[str]:
    """Long values in the examples, with the line ends inside hexadecimal ones taken out."""
    found: set[str] = set()
    for block in BLOCKS:
        joined = re.sub(r"(?<=[0-9a-f]{96})\n(?=[0-9a-f]+$)", "", block, flags=re.MULTILINE)
        found.update(re.findall(r"[A-Za-z0-9+/=_-]{40,}", joined))
        found.update(line for line in joined.splitlines() if line.startswith(("PC1:", "PT1:", '{"action"')))
    return found


def test_every_worked_value_is_one_of_the_vectors():
    values = _worked_values()
    assert len(values) > 30
    vectors = VECTORS.replace('\\"', '"')
    assert [value for value in values if value not in vectors] == []


def test_every_reason_for_refusal_is_listed_and_none_else():
    used = {found for path in SOURCES for found in re.findall(r'WireError\("(\w+)"', path.read_text("utf-8"))}
    section = REFERENCE[REFERENCE.index("## Reasons for refusal") : REFERENCE.index("## Test vectors")]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert {found for row in rows for found in re.findall(r"`(\w+)`", row)} == used


def test_every_source_section_that_the_code_names_is_there():
    headings = set(re.findall(r"^#+ (.+)$", REFERENCE, re.MULTILINE))
    for path in SOURCES:
        for line in re.findall(r"docs/reference/wire\.md, (.+)", path.read_text("utf-8")):
            assert set(re.findall(r'"([^"]+)"', line)) <= headings, path.name


def test_links_inside_the_reference_lead_somewhere():
    anchors = {
        re.sub(r"[^\w -]", "", found).lower().replace(" ", "-")
        for found in re.findall(r"^#+ (.+)$", REFERENCE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", REFERENCE)) <= anchors


@pytest.mark.parametrize("action", door.READERS)
def test_every_action_is_described(action: str):
    assert f"`{action}`" in REFERENCE


def test_the_reference_names_the_actions_that_are_not_served_yet():
    missing = sorted(set(door.READERS) - set(ACTIONS))
    sentence = f"does not serve {' and '.join(f'`{action}`' for action in missing)} yet"
    assert (sentence in REFERENCE) == bool(missing)
    assert set(ACTIONS) <= set(door.READERS)


def test_the_bits_of_the_policy_are_described():
    section = REFERENCE[REFERENCE.index("### The policy") : REFERENCE.index("### The wrapping")]
    for flag in Flags:
        assert f"`{flag:04X}`" in section
    for field in DeviceFields:
        assert f"`{field:04X}` {field.names()[0]}" in section


@pytest.mark.parametrize(
    "number",
    [
        MOST_REQUEST_BYTES,
        MOST_PIECE_BYTES,
        MOST_WAIT_SECONDS,
        RANDOM_ITERATIONS,
        CHOSEN_ITERATIONS,
        MOST_ITERATIONS,
    ],
)
def test_the_limits_stand_in_the_reference(number: int):
    assert f"{number:,}" in re.sub(r"\s+", " ", REFERENCE)


def test_the_alphabet_of_codes_stands_in_the_reference():
    assert f"`{ALPHABET}`" in REFERENCE
