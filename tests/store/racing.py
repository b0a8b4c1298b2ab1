"""How do tests let several do the same thing at the same moment, as threads or as processes?"""

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
_SECONDS = 60
_WAIT = "\nprint('ready', flush=True)\nsys.stdin.read()\n"


def in_threads(number: int, work: Callable[[int], T]) -> list[T]:
    """Call ``work(0) ... work(number - 1)`` at the same moment; return the results in that order."""
    line = threading.Barrier(number)

    def run(each: int) -> T:
        line.wait(_SECONDS)
        return work(each)

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(run, range(number)))


def in_processes(number: int, before: str, after: str, *words: str) -> list[str]:
    """Run programs that do ``before``, wait for each other, and do ``after``; return what each printed."""
    source = f"import sys\n{before}{_WAIT}{after}"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", source, *words, str(each)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for each in range(number)
    ]
    for racer in racers:
        assert racer.stdin is not None
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n", racer.communicate(timeout=_SECONDS)
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.close()
        racer.stdin = None  # so that communicate() leaves it alone
    ended = [racer.communicate(timeout=_SECONDS) for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * number, ended
    return [output for output, _ in ended]
