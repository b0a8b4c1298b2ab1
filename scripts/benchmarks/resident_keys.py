"""What does a process meet on a token that holds the keys of so many users? Run as a program, twice for each number."""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from rich.progress import track

from hsm.device import Device
from hsm.keys import KeyKind, KeyRef

_LABEL = "countersign-user-benchmark"
_MACS, _ENROLMENTS = 2000, 5


def measure_resident(token_uri: str, steps: list[int]) -> list[dict[str, Any]]:
    """Return for each number of resident users what a process with their keys on the token meets.

    A process of its own makes the keys of each step and another one measures, because one process can start only once.
    """
    rows: list[dict[str, Any]] = []
    present = 0
    for number in track(steps, "Resident users"):
        for words in (("fill", str(number - present)), ("look",)):
            command = [sys.executable, "-m", __name__, token_uri, *words]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        present = number
        rows.append({"users": number} | json.loads(done.stdout))
    return rows


def main() -> None:
    """`URI fill N` makes the keys of N users; `URI look` prints what there is to see."""
    uri, what, *rest = sys.argv[1:]
    began = time.perf_counter()
    with contextlib.closing(Device.open(uri)) as device:
        if what == "fill":
            for _ in range(int(rest[0])):
                _enrol(device)
            return
        print(json.dumps(_look(device, began)))


def _enrol(device: Device) -> list[KeyRef]:
    """Make Khmac, Kauth and Kpublic of one user."""
    ids = [secrets.token_bytes(16) for _ in range(3)]
    device.issue(bytes(32), ids[:2], _LABEL)
    point = ec.generate_private_key(ec.SECP256R1()).public_key()
    encoded = point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    device.import_public(ids[2], encoded, _LABEL)
    return [*(KeyRef(KeyKind.SECRET, each) for each in ids[:2]), KeyRef(KeyKind.PUBLIC, ids[2])]


def _look(device: Device, began: float) -> dict[str, float]:
    keys = device.warm()
    start, computed = time.perf_counter() - began, time.process_time()
    memory = _memory()
    enrolments, macs, searches = [], [], []
    for _ in range(_ENROLMENTS):
        began = time.perf_counter()
        made = _enrol(device)
        enrolments.append(time.perf_counter() - began)
        searches.append(_mac(device, made[0]))  # its handle is not known yet
        macs += [_mac(device, made[0]) for _ in range(_MACS // _ENROLMENTS)]
        for key in made:
            device.destroy(key)
    return {
        "objects": keys,
        "start_seconds": start,
        "start_cpu_seconds": computed,  # of the process from its beginning; says more on a busy machine
        "memory_mib": memory,
        "mac_us": median(macs) * 1e6,
        "search_ms": median(searches) * 1e3,
        "enrol_ms": median(enrolments) * 1e3,
    }


def _mac(device: Device, key: KeyRef) -> float:
    began = time.perf_counter()
    device.mac(key, b"x")
    return time.perf_counter() - began


def _memory() -> float:
    """Return the MiB of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
