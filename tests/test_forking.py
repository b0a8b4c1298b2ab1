"""Is a command that was forked what the same command is as a program of its own?"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.forking import ROOT, Forked, run_forked

SETTINGS = {name: text for name, text in os.environ.items() if not name.startswith("COUNTERSIGN_")}


def _anew(*words: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def waiting(tmp_path: Path) -> Forked:
    """A command that waits until somebody opens the other end of its policy."""
    os.mkfifo(policy := tmp_path / "policy.json")
    data = {"COUNTERSIGN_DATA_DIR": str(tmp_path)}
    with (tmp_path / "said").open("wb") as said:
        return Forked(["application", "add", "x", "--policy", str(policy)], SETTINGS | data, said, said)


@pytest.mark.parametrize("words", [["version"], ["check"]], ids=" ".join)
def test_it_says_the_same_and_ends_with_the_same_status(words: list[str]) -> None:
    environment = SETTINGS | {"COUNTERSIGN_LOG_LEVL": "info"}
    forked, anew = run_forked(words, environment), _anew(*words, environment=environment)
    assert (forked.returncode, forked.stdout, forked.stderr) == (anew.returncode, anew.stdout, anew.stderr)


def test_it_has_the_environment_that_was_given_and_nothing_of_another(tmp_path: Path) -> None:
    right = SETTINGS | {"COUNTERSIGN_DATA_DIR": str(tmp_path)}
    wrong = run_forked(["check"], right | {"COUNTERSIGN_LOG_LEVL": "info"})
    assert "COUNTERSIGN_LOG_LEVL" in wrong.stderr
    told = run_forked(["check"], right)
    assert "COUNTERSIGN_LOG_LEVL" not in told.stderr
    assert "COUNTERSIGN_TOKEN_URI" in told.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it_and_is_its_status(waiting: Forked, number: signal.Signals) -> None:
    assert waiting.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.1)
    waiting.send_signal(number)
    assert waiting.wait(30) == -number
    assert (waiting.poll(), waiting.returncode) == (-number, -number)
    assert not Path(f"/proc/{waiting.pid}").exists()
    waiting.send_signal(number)  # whoever has its number by now is left alone


def test_one_that_ends_leaves_the_others_alone(waiting: Forked) -> None:
    ended = [threading.Thread(target=run_forked, args=(["version"], SETTINGS)) for _ in range(3)]
    for each in ended:
        each.start()
    for each in ended:
        each.join()
    assert waiting.poll() is None
    waiting.kill()
    assert waiting.wait(30) == -signal.SIGKILL
