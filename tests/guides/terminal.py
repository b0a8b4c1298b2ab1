"""How does a test follow a guide? It types each command at a terminal and answers what is asked there.

In a guide, a block marked `sh` is what the reader types, and a block marked `text` behind it is what the reader then
sees: each of its lines must come, in this order, with anything in the place of `…`.
"""

import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
MARK = "\x1e"  # ASCII's record separator: nothing prints it by itself
MOST_SECONDS = 300
HIDDEN_SECONDS = 0.5
LOCAL_MODES = 3  # position in what tcgetattr gives
Answer = tuple[str, Callable[[str], str]]


@dataclass(slots=True)
class Step:
    """Commands of one block, and the lines they should show."""

    commands: str
    expected: list[str]


def steps_of(guide: str) -> list[Step]:
    """Read the steps of a guide."""
    steps: list[Step] = []
    for kind, body in BLOCK.findall(guide):
        if kind == "sh":
            steps.append(Step(body, []))
        else:
            steps[-1].expected += body.splitlines()
    return steps


def follow(steps: Sequence[Step], folder: Path, answers: Sequence[Answer]) -> list[str]:
    """Type all commands into one shell standing in the folder; gives what each step showed.

    `answers`: the end of a prompt as a regular expression, and what to type there, given all that was shown.
    The shell ends at the first command that fails; AssertionError then shows what it said.
    """
    script = "set -euo pipefail\n" + "".join(f"{step.commands}printf '\\036'\n" for step in steps)
    ours, its = pty.openpty()
    # A session with this terminal as its own: prompts for passwords insist on it.
    command = ["setsid", "--ctty", "--wait", "bash", "-c", script]
    with subprocess.Popen(command, cwd=folder, stdin=its, stdout=its, stderr=its) as shell:
        os.close(its)
        try:
            shown = _converse(ours, answers)
        finally:
            os.close(ours)  # a terminal that is gone ends everything that was started there
    parts = shown.split(MARK)
    assert shell.returncode == 0, f"step {len(parts)} failed:\n{parts[-1]}"
    return parts[: len(steps)]


def _converse(terminal: int, answers: Sequence[Answer]) -> str:
    shown, answered = b"", 0
    deadline = time.monotonic() + MOST_SECONDS
    while True:
        waited = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        assert waited[0], f"nothing came any more after:\n{_text(shown)[-2000:]}"
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # how Linux says that nobody is on the other side any more
            return _text(shown)
        fresh = _text(shown[answered:])
        for prompt, answer in answers:
            if re.search(f"(?:{prompt})$", fresh):
                _wait_until_hidden(terminal)
                os.write(terminal, answer(_text(shown)).encode() + b"\n")
                answered = len(shown)
                break


def _wait_until_hidden(terminal: int) -> None:
    """A prompt may come a moment before the echo is stopped, and what is typed meanwhile be lost; not all stop it."""
    deadline = time.monotonic() + HIDDEN_SECONDS
    while termios.tcgetattr(terminal)[LOCAL_MODES] & termios.ECHO and time.monotonic() < deadline:
        time.sleep(0.01)


def _text(raw: bytes) -> str:
    return COLOUR.sub("", raw.decode(errors="replace")).replace("\r\n", "\n")


def missing(step: Step, shown: str) -> list[str]:
    """The expected lines that did not come, or not in their order."""
    lines = iter(shown.splitlines())
    return [wanted for wanted in step.expected if not any(_fits(wanted, line) for line in lines)]


def _fits(wanted: str, line: str) -> bool:
    return re.fullmatch(".+".join(map(re.escape, wanted.split("…"))), line.strip()) is not None
