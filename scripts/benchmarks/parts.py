"""Where does the interpreter's time go in a confirmation: samples of the running gateway, counted by part.

Only the thread that holds the interpreter's lock is sampled: Python runs on one core per process, so its time is
what limits a process. What runs without the lock (SQLite, fsync, the token's arithmetic) is not in the shares.
The samples come from py-spy, which is no dependency: it looks at the process from outside and slows it down by
little. It must be in the environment or on the PATH, and where the system restricts ptrace it needs root.
"""

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SAMPLES_PER_SECOND = "200"
_FRAME = re.compile(r"^(?P<function>.*) \((?P<file>[^()]*?)(?::\d+)?\)$")

# From the innermost frame outwards, the first that fits names the part; code of the standard library counts for
# whoever called it. (file, function, part)
_RULES = tuple(
    (re.compile(file), re.compile(function), part)
    for file, function, part in (
        (r"sqlalchemy/", r"^do_(execute|executemany|begin|commit|rollback)", "database driver"),
        (r"(^|/)psycopg", "", "database driver"),
        (r"sqlalchemy/(sql|dialects|util/langhelpers)", "", "SQLAlchemy: building statements"),
        (r"sqlalchemy/", "", "SQLAlchemy: executing, rows, units"),
        (r"gateway/store/", "", "SQLAlchemy: building statements"),
        (r"hsm/(uri|keys)\.py", "", "device: reading key names"),
        (r"hsm/rawkey\.py", "", "device: calling the module"),
        (r"(^|/)hsm/|pkcs11/", "", "device: pool, lock, handles"),
        (r"(hypercorn|h11)/", "", "hypercorn and h11"),
        (r"starlette/", "", "Starlette"),
        (r"structlog/|logging/|gateway/logs\.py", "", "log line"),
        (r"gateway/wire/", "", "wire: bytes"),
        (r"gateway/api/", "", "door"),
        (r"gateway/scenarios/context\.py", "", "thread hops"),
        (r"gateway/", "", "scenarios and rules"),
        (r"asyncio/|selectors\.py", r"run_in_executor|call_soon_threadsafe|wrap_future", "thread hops"),
        (r"concurrent/futures/|threading\.py|queue\.py", "", "thread hops"),
        (r"asyncio/|selectors\.py", "", "event loop"),
    )
)


@contextmanager
def sampled(process: int, folder: Path) -> Iterator[dict[str, float]]:
    """Sample `process` and its children; the mapping holds the share of each part after the block."""
    raw, parts = folder / "samples.txt", dict[str, float]()
    command = [_program(), "record", "--pid", str(process), "--subprocesses", "--nonblocking", "--gil"]
    command += ["--rate", _SAMPLES_PER_SECOND, "--format", "raw", "--output", str(raw), "--duration", "3600"]
    with (folder / "py-spy.log").open("w+") as log:
        sampler = subprocess.Popen(command, stdout=log, stderr=log)
        yield parts
        sampler.send_signal(2)
        sampler.wait(30)
        log.seek(0)
        if not raw.exists():
            raise SystemExit(log.read())
    parts.update(shares(raw.read_text()))


def _program() -> str:
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise SystemExit("--profile needs py-spy: .venv/bin/pip install py-spy")
    return found


def shares(samples: str) -> dict[str, float]:
    """Return the share of each part in py-spy's raw format: frames from the outermost, a blank, a count."""
    counted: Counter[str] = Counter()
    for line in samples.splitlines():
        stack, _, count = line.rpartition(" ")
        counted[_part(stack.split(";"))] += int(count)
    total = sum(counted.values()) or 1
    return {part: count / total for part, count in counted.items()}


def _part(stack: list[str]) -> str:
    for frame in reversed(stack):
        if (match := _FRAME.match(frame)) is None:
            continue
        for file, function, part in _RULES:
            if file.search(match["file"]) and function.search(match["function"]):
                return part
    return "other"
