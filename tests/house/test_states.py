"""Are the tables of states what decides, and are all of them in the reference?"""

import ast
import importlib
import re
from enum import StrEnum
from types import ModuleType

import pytest

from tests.house.tree import ROOT, name_of, python_files

PAGE = (ROOT / "docs" / "reference" / "states.md").read_text()
MACHINES: list[ModuleType] = [
    module
    for path in sorted((ROOT / "gateway" / "rules").glob("*.py"))
    if hasattr(module := importlib.import_module(f"gateway.rules.{path.stem}"), "TRANSITIONS")
]
STARTS = {type(machine.START).__name__: machine.START.name for machine in MACHINES}


def test_the_five_things_with_states_have_a_table():
    names = {machine.__name__.rpartition(".")[2] for machine in MACHINES}
    assert names == {"transaction", "keyset", "user", "device", "delivery"}


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.__name__.rpartition(".")[2])
def test_every_table_is_drawn_and_written_out_in_the_reference(machine: ModuleType):
    title = machine.__name__.rpartition(".")[2].capitalize()
    section = PAGE[PAGE.index(f"\n## {title}\n") :].split("\n## ")[1]
    arrows = dict(re.findall(r"^    (\w+ --> \w+): (.+)$", section, re.MULTILINE))
    drawn = {(arrow, action) for arrow, actions in arrows.items() for action in actions.split(", ")}
    edges = machine.TRANSITIONS.items()
    assert drawn == {(f"{state} --> {after}", str(action)) for (state, action), after in edges}
    assert f"[*] --> {machine.START}\n" in section
    states: type[StrEnum] = type(machine.START)
    assert all(f"| **{state}** |" in section for state in states)


def test_no_scenario_and_no_worker_gives_a_state_by_itself():
    # A thing begins in its first state; every other one comes out of its table.
    given = [
        f"{name_of(path)}:{value.lineno} {value.value.id}.{value.attr}"
        for path in python_files("gateway/scenarios", "gateway/worker")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        for value in [*call.args, *(keyword.value for keyword in call.keywords)]
        if isinstance(value, ast.Attribute)
        and isinstance(value.value, ast.Name)
        and value.value.id in STARTS
        and value.attr != STARTS[value.value.id]
    ]
    assert given == []
