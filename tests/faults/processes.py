"""Which processes make up the gateway under test, who kills them, and who starts them again?

The roles run as an operator runs them: two doors and a worker, each its own program, on one database and one
token. The killer sends SIGKILL to any of them or of their children. It mostly strikes when all roles work, now and
then while one is still starting, and now and then that one, but not again before it was up: on a slow machine, or
one with other work, nothing would ever be up otherwise.
"""

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from tests.gateways import Gateway, Process

ROLES = {"application": ("serve", "application"), "client": ("serve", "client"), "worker": ("work",)}
_LOOK_SECONDS = 0.1
_AGAIN_SECONDS = 0.5
_WORKER_STARTS_SECONDS = 5
_STARTING = 0.2  # how often the killer takes one that is starting, if there is one
_REGARDLESS = 0.2  # how often it takes one that works without waiting for the others
_STOP_SECONDS = 30
_PATIENCE_SECONDS = 120


class Processes:
    """The running roles of one gateway. Use it in a `with` statement."""

    def __init__(self, gateway: Gateway, seed: int) -> None:
        self.gateway = gateway
        self.kills: Counter[str] = Counter()
        self.starts: Counter[str] = Counter()
        self.died_alone: list[str] = []  # without anybody having killed anything of the role
        self._chance = random.Random(seed)  # noqa: S311 - chooses a victim, no secret
        self._running: dict[str, Process] = {}
        self._started: dict[str, float] = {}
        self._struck: set[str] = set()
        self._spared: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._calm = threading.Event()
        self._keeper = threading.Thread(target=self._keep_up)

    def __enter__(self) -> Self:
        for role in ROLES:
            self._start(role)
        self._keeper.start()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not all(self._is_up(role) for role in ROLES):
            if time.monotonic() > deadline:
                self._end()
                raise TimeoutError(self.gateway.log_file.read_text()[-4000:])
            time.sleep(_LOOK_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._calm.set()
        self._stop.set()
        self._keeper.join()
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def kill_at_random(self, least_seconds: float, most_seconds: float) -> threading.Thread:
        """Begin to kill: one process after each pause of a length between the two, until `calm` is called."""

        def kill() -> None:
            while not self._calm.wait(self._chance.uniform(least_seconds, most_seconds)):
                mood = self._chance.random()
                while not self._strike(mood) and not self._calm.wait(_AGAIN_SECONDS):
                    pass

        thread = threading.Thread(target=kill)
        thread.start()
        return thread

    def all_pids(self) -> list[int]:
        """Return every process of every role, as it is now."""
        with self._lock:
            return [pid for process in self._running.values() for _, pid in _family(process.pid)]

    def calm(self) -> None:
        """Kill nothing any more."""
        self._calm.set()

    def _strike(self, mood: float) -> bool:
        """Kill one process; False if it has to wait until all roles are up."""
        up = [role for role in ROLES if self._is_up(role)]
        self._spared -= set(up)
        starting = sorted(set(ROLES) - set(up) - self._spared)
        if mood < _STARTING and starting:
            return self._kill_one_of(starting, up)
        if mood < _STARTING + _REGARDLESS or len(up) == len(ROLES):
            return self._kill_one_of(up, up)
        return False

    def _kill_one_of(self, roles: list[str], up: list[str]) -> bool:
        with self._lock:
            candidates = [
                (role, what, pid)
                for role in roles
                for what, pid in _family(self._running[role].pid)
                if self._running[role].poll() is None
            ]
            if not candidates:
                return False
            role, what, pid = self._chance.choice(candidates)
            self._struck.add(role)
            self._spared |= {role} - set(up)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.kills[f"{role} {what}"] += 1
        return True

    def _is_up(self, role: str) -> bool:
        urls = {"application": self.gateway.application_url, "client": self.gateway.client_url}
        if role not in urls:
            return time.monotonic() - self._started[role] > _WORKER_STARTS_SECONDS
        try:
            return httpx2.get(f"{urls[role]}/readyz", verify=False, trust_env=False).is_success
        except httpx2.TransportError:
            return False

    def _keep_up(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            with self._lock:
                for role, process in list(self._running.items()):
                    if process.poll() is not None:
                        if role not in self._struck:
                            self.died_alone.append(f"{role}: status {process.returncode}")
                        self._start(role)

    def _start(self, role: str) -> None:
        self._struck.discard(role)
        self._started[role] = time.monotonic()
        self._running[role] = self.gateway.start(*ROLES[role], wait=False)
        self.starts[role] += 1


def _family(pid: int) -> list[tuple[str, int]]:
    return [("parent", pid), *(("child", child) for child in children(pid))]


def children(pid: int) -> list[int]:
    """Return the processes that a process has started itself."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
