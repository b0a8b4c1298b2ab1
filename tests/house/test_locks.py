"""Do the lock files hold what pyproject.toml asks for, with hashes, and agree with each other?"""

import re
import tomllib

from tests.house.tree import ROOT

PIN = re.compile(r"^([a-z0-9-]+)==(\S+)(?: ;[^\\]*)? \\\n    --hash=sha256:[0-9a-f]{64}", re.MULTILINE)
NAME = re.compile(r"^[A-Za-z0-9-]+")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _pins(lock: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / lock).read_text()))


def _names(requirements: list[str]) -> set[str]:
    return {match.group().lower() for requirement in requirements if (match := NAME.match(requirement))}


def test_everything_asked_for_is_locked_with_hashes() -> None:
    runtime = _names(PROJECT["dependencies"])
    assert runtime - set(_pins("requirements.lock")) == set()
    assert runtime | _names(PROJECT["optional-dependencies"]["dev"]) <= set(_pins("requirements-dev.lock"))


def test_tests_run_with_the_versions_that_are_shipped() -> None:
    developed = _pins("requirements-dev.lock")
    assert {
        name: version
        for name, version in _pins("requirements.lock").items()
        if developed.get(name) != version
    } == {}


def test_every_line_of_a_lock_is_a_pin_with_hashes() -> None:
    for lock in sorted(ROOT.glob("requirements*.lock")):
        begins = re.findall(r"^[a-z0-9].*$", lock.read_text(), re.MULTILINE)
        assert len(begins) == len(_pins(lock.name)), lock.name
