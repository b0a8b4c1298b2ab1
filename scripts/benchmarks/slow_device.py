"""How much of a slow device do n sessions make use of? Every call takes 2 ms more, as over a network.

The ideal is n / (calls per MAC x time per call). No clock is ideal on a busy machine: beside it stands what threads
reach that only sleep as long. The module is SoftHSM behind a shim, in a process of its own,
because one process can hold SoftHSM only once.
"""

import json
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

from hsm.device import Device
from hsm.limits import Limits
from scripts.benchmarks.sheet import Grid, Sheet
from tests.hsm import misbehaving
from tests.tokens import MODULE

_SESSIONS = (1, 4, 16)
_CALL_MICROSECONDS = 2000


def add_options(parser: ArgumentParser) -> None:
    """Say what can be chosen."""
    parser.add_argument("--seconds", type=float, default=3, help="for each number (%(default)s)")


def measure(arguments: Namespace, folder: Path, token_uri: str) -> Sheet:
    """Measure with each number of sessions."""
    rows = _measure_all(folder, token_uri, arguments.seconds)
    names = ("sessions", "macs", "sleeps", "ideal", "of_sleeps", "of_ideal", "calls")
    titles = ["sessions", "MAC/s", "sleeps/s", "ideal", "of the sleeps", "of the ideal", "calls per MAC"]
    for row in rows:
        row |= {"of_sleeps": row["macs"] / row["sleeps"], "of_ideal": row["macs"] / row["ideal"]}
    return Sheet(
        scenario="device",
        title=f"HMAC on a device whose every call takes {_CALL_MICROSECONDS / 1000:g} ms more",
        says=[f"At least {min(row['of_ideal'] for row in rows):.0%} of the ideal."],
        grids=[Grid("by number of sessions", titles, [[row[name] for name in names] for row in rows])],
        settings={"seconds": arguments.seconds},
        figures={"rows": rows},
    )


def _measure_all(folder: Path, token_uri: str, seconds: float) -> list[dict[str, float]]:
    """Return, for each number of sessions: MACs per second, what sleeping allows, the ideal, calls per MAC."""
    shim = misbehaving.build(folder, MODULE)
    command = [sys.executable, "-m", __name__, token_uri.replace(MODULE, str(shim)), str(seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: list[dict[str, float]] = json.loads(done.stdout)
    return figures


def _measure(uri: str, sessions: int, seconds: float) -> dict[str, float]:
    shim = misbehaving.Shim()
    device = Device.open(uri, limits=Limits(sessions=sessions, wait_seconds=60))
    device.create_house_key("binding")
    key = device.house_key("binding")
    device.mac(key, b"x")
    shim.forget()
    shim.order(microseconds=_CALL_MICROSECONDS)
    macs, done = _rate(lambda: device.mac(key, b"x"), sessions, seconds)
    calls = shim.calls() / done
    shim.obey_no_more()
    device.close()
    sleeps, _ = _rate(lambda: _sleep(round(calls)), sessions, seconds)
    ideal = sessions / (calls * _CALL_MICROSECONDS / 1e6)
    return {"sessions": sessions, "macs": macs, "sleeps": sleeps, "ideal": ideal, "calls": calls}


def _rate(operation: Callable[[], object], threads: int, seconds: float) -> tuple[float, int]:
    """Return operations per second, and how many there were."""
    done = [0] * threads
    began = time.perf_counter()

    def work(number: int) -> None:
        while time.perf_counter() < began + seconds:
            operation()
            done[number] += 1

    running = [threading.Thread(target=work, args=(each,)) for each in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(done) / (time.perf_counter() - began), sum(done)


def _sleep(calls: int) -> None:
    for _ in range(calls):
        time.sleep(_CALL_MICROSECONDS / 1e6)


if __name__ == "__main__":
    print(json.dumps([_measure(sys.argv[1], each, float(sys.argv[2])) for each in _SESSIONS]))
