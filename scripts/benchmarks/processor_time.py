"""How many CPU seconds did a process and its children use, and how many did everybody else?"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PARENT, _USER, _SYSTEM = 1, 11, 12  # fields of /proc/PID/stat after the name (proc(5))
_IDLE, _IO_WAIT, _GUEST = 3, 4, 8  # fields of the first line of /proc/stat


def tree_seconds(root: int) -> float:
    """Return the CPU seconds of the living process `root` and all that descend from it."""
    return sum((int(values[_USER]) + int(values[_SYSTEM])) * _TICK for values in _family(root).values())


def tree_memory(root: int) -> float:
    """Return the MiB of a process and all that descend from it, shared pages split among those who share them."""
    lines = (
        line for pid in _family(root) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    )
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _family(root: int) -> dict[int, list[str]]:
    fields = {int(path.parent.name): _fields(path) for path in Path("/proc").glob("[0-9]*/stat")}
    family, size = {root}, 0
    while size != len(family):
        size = len(family)
        family |= {pid for pid, values in fields.items() if values and int(values[_PARENT]) in family}
    return {pid: values for pid in family if (values := fields.get(pid))}


def _fields(path: Path) -> list[str]:
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:  # it ended while we looked
        return []


def machine_seconds() -> float:
    """Return the CPU seconds that all processes of this machine used since it started."""
    numbers = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    idle = numbers[_IDLE] + numbers[_IO_WAIT]
    return (sum(numbers[:_GUEST]) - idle) * _TICK


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds, counted from the start of the processes or between two moments."""

    server: float
    database: float
    generator: float
    machine: float

    @classmethod
    def so_far(cls, servers: Sequence[int], database: int | None) -> "Spent":
        """Read the counters; `servers` and `database` are process ids."""
        own = os.times()
        return cls(
            server=sum(tree_seconds(each) for each in servers),
            database=0.0 if database is None else tree_seconds(database),
            generator=own.user + own.system,
            machine=machine_seconds(),
        )

    def since(self, before: "Spent") -> "Spent":
        """Return what was spent between `before` and this."""
        return Spent(
            self.server - before.server,
            self.database - before.database,
            self.generator - before.generator,
            self.machine - before.machine,
        )

    @property
    def others(self) -> float:
        """What processes that have nothing to do with the measurement took."""
        return max(0.0, self.machine - self.server - self.database - self.generator)
