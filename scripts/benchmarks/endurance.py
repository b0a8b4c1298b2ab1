"""Do memory, sessions, handles and objects stay the same over millions of device operations?

Some modules keep a little of every object they ever made (SoftHSM 2.6.1: about 240 bytes of a session object that was
destroyed). So the module alone is measured as well, without our layer, and what it keeps is told apart.
"""

import json
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from statistics import linear_regression
from typing import Any

from rich.progress import Progress

from scripts.benchmarks.endurance_work import SAMPLES
from scripts.benchmarks.sheet import Grid, Plot, Sheet, thinned
from tests.hsm import misbehaving
from tests.tokens import MODULE

_MILLION = 1_000_000
_FLAT_MIB = 1.0  # for each million operations, after what the module keeps; pages come and go by as much
_FLAT_SHARE = 0.005  # of Python's blocks
_COUNTS = (
    "sessions",
    "objects",
    "token_objects",
    "handles",
    "fleeting",
    "epoch",
    "recoveries",
    "waiting",
)
_TITLES = {
    "operations": "operations",
    "seconds": "s",
    "rss_mib": "RSS, MiB",
    "uss_mib": "own, MiB",
    "python_blocks": "blocks of Python",
    "sessions": "sessions",
    "handles": "handles",
    "objects": "objects",
    "token_objects": "on the token",
    "fleeting": "derived held",
}
Samples = list[dict[str, Any]]


def add_options(parser: ArgumentParser) -> None:
    """Say what can be chosen."""
    parser.add_argument("--operations", type=int, default=2 * _MILLION, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=8, help="default: %(default)s")


def measure(arguments: Namespace, folder: Path, token_uri: str) -> Sheet:
    """Work, sample, judge."""
    shim = misbehaving.build(folder, MODULE)
    uri = token_uri.replace(MODULE, str(shim))
    operations = arguments.operations
    samples = _work(uri, operations, arguments.threads)
    alone = json.loads(_program(uri, "alone").communicate()[0])
    kept = _kept_mib(samples, alone)
    slopes = _slopes(samples, kept)
    return Sheet(
        scenario="endurance",
        title=f"{samples[-1]['operations']:,} operations of the device in a loop",
        says=_verdict(samples, slopes, alone),
        grids=[_grid(samples)],
        plots=_plots(samples, kept),
        settings={"operations": operations, "threads": arguments.threads},
        figures={
            "slopes_per_million": slopes,
            "module_alone": alone,
            "last": samples[-1],
            "samples": samples[:: SAMPLES // 50],
        },
    )


def _program(uri: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "scripts.benchmarks.endurance_work", uri, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _work(uri: str, operations: int, threads: int) -> Samples:
    samples: Samples = []
    with _program(uri, "work", str(operations), str(threads)) as program, Progress() as progress:
        assert program.stdout is not None
        task = progress.add_task("Operations", total=operations)
        for line in program.stdout:
            samples.append(json.loads(line))
            progress.update(task, completed=samples[-1]["operations"])
    if program.returncode or len(samples) != SAMPLES:
        raise SystemExit(f"the program ended with {program.returncode} after {len(samples)} samples")
    return samples


def _kept_mib(samples: Samples, alone: dict[str, float]) -> Callable[[dict[str, Any]], float]:
    """Return how many MiB the module itself has kept at a sample, from what it keeps of each object."""
    tokens, first = alone["token_object_bytes"], samples[0]["objects_made"]

    def kept(sample: dict[str, Any]) -> float:
        stored = 3 * sample["enrolments"]  # two secrets and a public key
        other = sample["objects_made"] - first - stored
        return float(other * alone["session_object_bytes"] + stored * tokens) / 2**20

    return kept


def _slopes(samples: Samples, kept: Callable[[dict[str, Any]], float]) -> dict[str, float]:
    """Return the growth for each million operations, by regression over the second half of the samples."""
    half = samples[len(samples) // 2 :]
    millions = [each["operations"] / _MILLION for each in half]

    def slope(value: Callable[[dict[str, Any]], float]) -> float:
        return linear_regression(millions, [value(each) for each in half]).slope

    names = ("rss_mib", "uss_mib", "python_blocks", *_COUNTS)
    found = {name: slope(itemgetter(name)) for name in names}
    return found | {
        "module_keeps_mib": slope(kept),
        "rest_mib": slope(lambda each: each["uss_mib"] - kept(each)),
    }


def _verdict(samples: Samples, slopes: dict[str, float], alone: dict[str, float]) -> list[str]:
    last, blocks = samples[-1], slopes["python_blocks"]
    span = {name: _span({each[name] for each in samples}) for name in _COUNTS}
    is_flat = slopes["rest_mib"] < _FLAT_MIB and blocks < _FLAT_SHARE * last["python_blocks"]
    return [
        (
            f"{last['operations']:,} operations, {last['calls']:,} calls into the module, {last['evictions']:,} "
            f"derived keys evicted, {last['enrolments']:,} users enrolled and destroyed, {last['seconds']:,.0f} s; "
            f"wrong answers and errors: {len(last['wrong'])}."
        ),
        (
            f"Memory of the process: {slopes['uss_mib']:+.2f} MiB for each million operations over the second half. "
            f"The module alone, without our layer, keeps {alone['session_object_bytes']:.0f} bytes of a session "
            f"object and {alone['token_object_bytes']:.0f} of a token object that was made and destroyed: "
            f"{slopes['module_keeps_mib']:+.2f} MiB. The rest: {slopes['rest_mib']:+.2f} MiB. Blocks that Python has "
            f"allocated: {blocks:+,.0f} of {last['python_blocks']:,}."
        ),
        (
            f"Verdict: the memory of our layer {'is flat' if is_flat else 'GROWS'}. Sessions {span['sessions']}, "
            f"handles {span['handles']}, objects in the module {span['objects']}, on the token "
            f"{span['token_objects']}, recoveries {last['recoveries']}, initialisations {last['epoch']}."
        ),
    ]


def _span(values: set[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def _grid(samples: Samples) -> Grid:
    rows = [samples[number * len(samples) // 8] for number in range(8)] + [samples[-1]]
    return Grid("what was there", list(_TITLES.values()), [[row[name] for name in _TITLES] for row in rows])


def _plots(samples: Samples, kept: Callable[[dict[str, Any]], float]) -> list[Plot]:
    def line(value: Callable[[dict[str, Any]], float]) -> list[tuple[float, float]]:
        return thinned([(each["operations"] / _MILLION, round(value(each), 2)) for each in samples])

    x = "million operations"
    return [
        Plot(
            "Memory of the process",
            "MiB",
            x,
            lines={
                "RSS": line(itemgetter("rss_mib")),
                "own": line(itemgetter("uss_mib")),
                "own, less what the module keeps": line(lambda each: each["uss_mib"] - kept(each)),
            },
        ),
        Plot(
            "Sessions, handles, objects on the token",
            "how many",
            x,
            lines={name: line(itemgetter(name)) for name in ("sessions", "handles", "token_objects")},
        ),
    ]
