"""Are the published vectors what the program writes, and does the second reading notice a change?"""

import ast
import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.vectors import verify
from tests.vectors.writing.__main__ import contents

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.name for path in verify.FOLDER.glob("*.json"))
# Members that say how a case is read, or that nothing else in a case depends on.
NOT_DERIVED = {
    "kind",
    "name",
    "required",
    "optional",
    "may_be_empty",
    "least_bits",
    "back",
    "nbf",
    "exp",
    "values",
}
# Inputs of which many have the same result.
MANY_TO_ONE = {("truncate", "mac"), ("step", "unix"), ("step", "step_seconds"), ("normalise", "text")}


def _document(name: str) -> dict[str, Any]:
    return json.loads((verify.FOLDER / name).read_text(encoding="utf-8"))


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.vectors.verify", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_committed_vectors_are_what_the_program_writes():
    assert contents() == {name: (verify.FOLDER / name).read_text(encoding="utf-8") for name in NAMES}


def test_every_vector_holds_under_the_second_reading_and_under_openssl():
    result = _run()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_second_reading_fails_when_one_byte_of_a_vector_is_changed(tmp_path: Path):
    text = (verify.FOLDER / "proofs.json").read_text(encoding="utf-8")
    at = text.index('"signature": "') + len('"signature": "') + 20
    changed = text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]
    (tmp_path / "proofs.json").write_text(changed, encoding="utf-8")
    result = _run(str(tmp_path))
    assert result.returncode == 1
    assert "approve a payment" in result.stderr


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to all texts and numbers that something else in the case depends on."""
    if isinstance(value, dict | list):
        inside = value.items() if isinstance(value, dict) else enumerate(value)
        for key, member in inside:
            if key not in NOT_DERIVED:
                yield from _places(member, (*path, key))
    elif isinstance(value, str | int) and not isinstance(value, bool) and value != "":
        yield path


def _changed(case: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    """The case with one character, or one number, changed in the middle."""
    found = copy.deepcopy(case)
    holder = found
    for key in path[:-1]:
        holder = holder[key]
    old = holder[path[-1]]
    if isinstance(old, int):
        holder[path[-1]] = old + 1
    else:
        middle = len(old) // 2
        other = "1" if old[middle] != "1" else "2"
        holder[path[-1]] = old[:middle] + other + old[middle + 1 :]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_no_change_of_any_value_in_any_good_vector_goes_unnoticed(name: str):
    document = _document(name)
    unnoticed = [
        (case["kind"], case["name"], path)
        for case in document["cases"]
        if case["valid"]
        for path in _places(case)
        if (case["kind"], path[0]) not in MANY_TO_ONE
        and verify.fault_of(_changed(case, path), document) is None
    ]
    assert unnoticed == []


@pytest.mark.parametrize("name", NAMES)
def test_a_refusal_holds_only_for_the_reason_that_it_names(name: str):
    document = _document(name)
    for case in document["cases"]:
        if not case["valid"]:
            assert verify.fault_of({**case, "reason": "another"}, document)


def test_the_second_reading_imports_neither_the_gateway_nor_the_device_layer():
    for path in (verify.FOLDER / "verify.py", *(verify.FOLDER / "reading").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"gateway", "hsm"}
            assert not any(name.startswith("tests.vectors.writing") for name in names)


def test_every_kind_of_case_has_good_ones_and_refusals():
    kinds: dict[str, set[bool]] = {}
    for name in NAMES:
        for case in _document(name)["cases"]:
            kinds.setdefault(case["kind"], set()).add(case["valid"])
    never_refused = {"step", "json", "answer", "new_code", "kek", "receipt"}
    only_refused = {"body"}
    assert {kind for kind, found in kinds.items() if found == {True}} == never_refused
    assert {kind for kind, found in kinds.items() if found == {False}} == only_refused
