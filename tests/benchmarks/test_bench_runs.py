"""Does the benchmark still measure what the gateway is today?"""

import json
import subprocess
from pathlib import Path

import pytest

from tests.house.tree import ROOT


@pytest.mark.long
def test_the_benchmark_confirms_transactions_and_leaves_nothing_behind(tmp_path: Path) -> None:
    figures, scratch = tmp_path / "figures.json", tmp_path / "scratch"
    scratch.mkdir()
    command = [ROOT / "scripts" / "bench", "confirm", "--quick", "--json", figures]
    ran = subprocess.run(
        ["/usr/bin/env", f"TMPDIR={scratch}", *command],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(figures.read_text())
    assert found["figures"]["confirm"]["answers"] > 0
    assert found["figures"]["echo"]["answers"] > 0
    assert list(scratch.iterdir()) == []
