"""People who were not there lately, on a slow device: what their first confirmation costs them, and others.

Every call into the module takes 2 ms more, as over a network. Three keys of a cold person are made first, alone in the
module, while nobody else is served.
"""

import contextlib
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

from scripts.benchmarks.contest import Contest, Figures
from scripts.benchmarks.crowd import Crowd
from scripts.benchmarks.known_keys import KnownKeys
from scripts.benchmarks.population import Approvals, Transactions
from scripts.benchmarks.running import add_running_options, prepared, settings_of
from scripts.benchmarks.sheet import Cell, Grid, Plot, Sheet
from tests.hsm import misbehaving
from tests.tokens import MODULE

_CALL_MICROSECONDS = 2000
_ROWS = ("answers", "per_second", "p50_ms", "p95_ms", "p99_ms", "server_cpu_ms")
_LONG = 600.0


def add_options(parser: ArgumentParser) -> None:
    """Say what can be chosen."""
    add_running_options(parser, users=1000)
    parser.add_argument(
        "--microseconds", type=int, default=_CALL_MICROSECONDS, help="more for each call (%(default)s)"
    )


def measure(arguments: Namespace, folder: Path, token_uri: str) -> Sheet:
    """Let everybody confirm once, which makes their keys, then once more; then some of the two kinds together."""
    known = KnownKeys.place(token_uri)
    with prepared(arguments, folder, token_uri) as (stage, database):
        people = arguments.users
        crowd = Crowd.gather(stage, known, people + people // 2)
        shim = misbehaving.build(folder, MODULE)
        slow = replace(stage, token_uri=token_uri.replace(MODULE, str(shim)))
        found: dict[str, Figures] = {}
        hot, new = crowd.phones[:people], crowd.phones[people:]
        turns = {
            "cold: each for the first time": hot,
            "hot: each once more": hot,
            "one in three cold": [
                phone for pair in zip(hot[::2], hot[1::2], new, strict=False) for phone in pair
            ],
        }
        with slow.client_door() as server:
            control = misbehaving.Shim()
            control.order(microseconds=arguments.microseconds)
            for name, phones in turns.items():
                with contextlib.closing(Transactions(stage, phones)) as online:
                    supply = Approvals(online)
                    contest = Contest(
                        gateways=[server], supply=supply, connections=arguments.concurrency, database=database
                    )
                    found[name] = contest.ask(_LONG, supply.take(len(phones)))
            control.obey_no_more()
        return _sheet(arguments, found)


def _sheet(arguments: Namespace, found: dict[str, Figures]) -> Sheet:
    rows: list[list[Cell]] = [
        [name, *(getattr(each, row) for each in found.values())] for name in _ROWS for row in [name]
    ]
    figures: dict[str, Any] = {
        name: {row: getattr(each, row) for row in _ROWS} for name, each in found.items()
    }
    cold, hot, _ = found.values()
    return Sheet(
        scenario="cold",
        title=f"Cold derived users on a device whose calls take {arguments.microseconds / 1000:g} ms more",
        says=[
            f"The first confirmation takes {cold.p50_ms:.0f} ms in the median, a further one {hot.p50_ms:.0f} ms."
        ],
        grids=[Grid(f"{arguments.concurrency} at a time", ["", *found], rows)],
        plots=[
            Plot(
                "Confirmations per second", "/s", bars={name: each.per_second for name, each in found.items()}
            )
        ],
        settings=settings_of(arguments),
        figures=figures,
    )
