"""Is the reference what the code says, and is everything in it that can be seen from outside?"""

import json
import re
import subprocess
import sys

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.refusals import CATALOGUE
from gateway.rules import event as events
from gateway.rules import policy
from tests.house.tree import ROOT

REFERENCE = ROOT / "docs" / "reference"


def test_the_pages_made_from_the_code_are_committed_as_it_makes_them():
    checked = subprocess.run(
        [sys.executable, "scripts/reference_pages.py", "--check"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("door", ["application-door", "client-door"])
def test_the_openapi_documents_are_valid_openapi_3_1(door: str):
    document = json.loads((REFERENCE / f"{door}.openapi.json").read_text())
    assert document["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(document).validate()


def test_every_type_of_event_has_a_meaning():
    assert set(events.CATALOGUE) == set(events.EventType)


def test_every_value_of_a_policy_has_its_bounds_or_is_a_switch_or_a_choice():
    tables = (policy.BOUNDS, policy.SWITCHES, policy.CHOICES, policy.STRUCTURES)
    assert {name for table in tables for name in table} == set(policy.to_json(policy.Policy()))


@pytest.mark.parametrize("folder", ["gateway"])
def test_every_refusal_in_the_code_is_in_the_catalogue_and_every_entry_is_used(folder: str):
    used = set()
    for path in (ROOT / folder).rglob("*.py"):
        text = path.read_text()
        used |= set(re.findall(r'Refusal\(\s*"(\w+)"', text))
        if path.name != "refusals.py":
            used |= {code for code in CATALOGUE if f'"{code}"' in text}
    assert used == set(CATALOGUE)
