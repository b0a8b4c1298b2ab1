"""The demo works, says clearly why it does not, and leaves no process behind, however it ends."""

import importlib.util
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "scripts" / "demo"
CONTRACT = ROOT / "docs" / "examples" / "contract.pdf"


def run(*words: str | Path, cwd: Path = ROOT):
    return subprocess.run([DEMO, *words], cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def processes_of(folder: Path):
    """Every process that has the folder in its environment or on its command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            seen = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in seen and int(process.name) != os.getpid():
            found.append(process.name)
    return found


@pytest.mark.long
def test_the_demo_confirms_the_contract_twice_in_one_folder(tmp_path: Path):
    folder = tmp_path / "demo"
    for _ in range(2):
        done = run("--folder", folder)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Everything worked" in done.stdout
        assert "\x1b" not in done.stdout
        assert (folder / "shown-on-the-phone.pdf").read_bytes() == CONTRACT.read_bytes()
    assert processes_of(folder) == []


@pytest.mark.long
def test_the_demo_takes_any_file_with_any_name(tmp_path: Path):
    (tmp_path / "a [bold]\x1b[31m name.TXT").write_text("Ünïcödé\n")
    done = run("--folder", tmp_path / "demo", "a [bold]\x1b[31m name.TXT", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "a [bold]<U+001B>[31m name.TXT" in done.stdout
    assert "text/plain; charset=utf-8" in done.stdout


def test_the_demo_says_what_is_wrong_with_a_file(tmp_path: Path):
    (tmp_path / "empty").touch()
    with (tmp_path / "large").open("wb") as file:
        file.truncate(16 * 1024 * 1024 + 1)
    for name, words in {
        "missing": "there is no file",
        "empty": "is empty",
        "large": "more than 16 MiB",
        ".": "is a folder",
    }.items():
        done = run("--folder", tmp_path / "demo", tmp_path / name)
        assert (done.returncode, done.stdout) == (1, "")
        assert words in done.stderr


def test_the_demo_empties_no_folder_that_it_did_not_make(tmp_path: Path):
    (tmp_path / "precious").touch()
    done = run("--folder", tmp_path)
    assert done.returncode == 1
    assert "holds other things" in done.stderr
    assert (tmp_path / "precious").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    ("how", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_the_demo_leaves_no_process_when_it_is_stopped(tmp_path: Path, how: signal.Signals, status: int):
    folder = tmp_path / "demo"
    # Python takes SIGINT only when it was not ignored at its start, as a shell's background jobs have it.
    process = subprocess.Popen([DEMO, "--folder", folder], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        for line in process.stdout:
            if "It is ready" in line:
                break
        assert len(processes_of(folder)) == 2
        process.send_signal(how)
    assert process.returncode == status
    deadline = time.monotonic() + 30
    while processes_of(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(folder) == []


def test_the_contract_is_what_its_script_makes():
    spec = importlib.util.spec_from_file_location("make_contract", CONTRACT.with_name("make_contract.py"))
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.pdf(made.draw()) == CONTRACT.read_bytes()
