"""What can others on this machine read of processes? Command lines all, environments the same user."""

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

PAUSE_SECONDS = 0.1


class ProcessWatch:
    """Looks again and again, in a `with` statement, at every process in whose environment the mark stands."""

    def __init__(self, mark: str) -> None:
        self.seen: set[tuple[int, bytes, bytes]] = set()
        self._mark = mark.encode()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def heaps(self) -> dict[str, bytes]:
        """What was seen, by what it was."""
        found: dict[str, bytes] = {}
        for number, line, environment in sorted(self.seen):
            found[f"command line of {number}, {line!r}"] = line
            found[f"environment of {number}, {line!r}"] = environment
        return found

    def lines(self) -> set[str]:
        """The command lines that were seen."""
        return {line.replace(b"\0", b" ").decode().strip() for _, line, _ in list(self.seen)}

    def _watch(self) -> None:
        while not self._over.wait(PAUSE_SECONDS):
            for process in Path("/proc").glob("[0-9]*"):
                self._look_at(process)

    def _look_at(self, process: Path) -> None:
        try:
            environment = (process / "environ").read_bytes()
            if self._mark in environment and int(process.name) != os.getpid():
                self.seen.add((int(process.name), (process / "cmdline").read_bytes(), environment))
        except OSError:
            return  # it ended meanwhile, or is somebody else's
