"""Can every script be run, and does it say what it is for?"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.house.tree import ROOT, files, name_of, shell_files, text

SCRIPTS = [path for path in files() if name_of(path).startswith(("scripts/", ".ci/")) and not path.suffix]


@pytest.mark.parametrize("script", shell_files(), ids=name_of)
def test_bash_can_read_the_script(script: Path) -> None:
    ran = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_shellcheck_finds_nothing() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    ran = subprocess.run([shellcheck, *shell_files()], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_a_script_is_executable_and_says_what_it_does(script: Path) -> None:
    first, second = text(script).splitlines()[:2]
    assert os.access(script, os.X_OK)
    assert first in {"#!/usr/bin/env bash", "#!/usr/bin/env python3"}
    assert second.startswith(("# ", '"""'))
