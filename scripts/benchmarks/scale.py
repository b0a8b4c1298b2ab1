"""Confirmations with a million `derived` users and their past in the database, next to a thousand, in turns.

Both databases are on one server, both gateways on one token, and the same hot set of people confirms at both.
"""

import contextlib
import time
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from rich.progress import track

from scripts.benchmarks.bulk import Loader
from scripts.benchmarks.contest import ROUNDS, Contest, Figures
from scripts.benchmarks.crowd import Crowd
from scripts.benchmarks.known_keys import KnownKeys
from scripts.benchmarks.population import Approvals, Transactions
from scripts.benchmarks.processor_time import tree_memory
from scripts.benchmarks.running import add_running_options, copied, prepared, settings_of
from scripts.benchmarks.servers import Stage
from scripts.benchmarks.sheet import Cell, Grid, Plot, Sheet

_DRAIN_SECONDS = 600.0


def add_options(parser: ArgumentParser) -> None:
    """Say what can be chosen."""
    add_running_options(parser, users=1_000_000)
    parser.add_argument("--hot", type=int, default=1000, help="users who confirm (%(default)s)")
    parser.add_argument("--past", type=int, default=2_000_000, help="past transactions (%(default)s)")


def measure(arguments: Namespace, folder: Path, token_uri: str) -> Sheet:
    """Fill one of two databases, and let people confirm at both in turns."""
    known = KnownKeys.place(token_uri)
    if arguments.quick:
        vars(arguments).update(hot=5, past=200)
    with prepared(arguments, folder, token_uri) as (few, database), contextlib.ExitStack() as parts:
        crowd = Crowd.gather(few, known, arguments.hot)
        many = copied(few, folder / "many")
        if arguments.quick:
            arguments.users = 100
        began = time.perf_counter()
        crowd.fill(many, arguments.users - arguments.hot, arguments.past)
        loaded = time.perf_counter() - began
        sides = [
            _Side(name, stage, crowd, parts, arguments, database)
            for name, stage in ((f"{arguments.hot:,} users", few), (f"{arguments.users:,} users", many))
        ]
        for side in sides:
            side.contest.ask(0.2 if arguments.quick else 3)  # everybody's keys are made once
        rounds = 1 if arguments.quick else ROUNDS
        for side in track(sides * rounds, "Confirming in turns"):
            side.turn(arguments.seconds / rounds)
        return _sheet(arguments, sides, loaded)


class _Side:
    """One of the two databases, with a gateway."""

    def __init__(
        self,
        name: str,
        stage: Stage,
        crowd: Crowd,
        parts: contextlib.ExitStack,
        arguments: Namespace,
        database: int | None,
    ) -> None:
        self.name, self._loader = name, Loader(stage.database_url)
        waiting = parts.enter_context(contextlib.closing(Transactions(stage, crowd.phones)))
        self._supply = Approvals(waiting)
        began = time.perf_counter()
        self._server = parts.enter_context(stage.client_door())
        self.start_seconds = time.perf_counter() - began
        self.memory_mib = tree_memory(self._server.process.pid)
        self.size = self._loader.size()
        self.contest = Contest(
            gateways=[self._server],
            supply=self._supply,
            connections=arguments.concurrency,
            database=database,
        )
        self.figures: list[Figures] = []
        self.events = 0

    def turn(self, seconds: float) -> None:
        before = self._loader.count("events")
        self.figures.append(self.contest.ask(seconds))
        self.events += self._loader.count("events") - before

    def result(self) -> dict[str, Any]:
        middle = Figures.median_of(self.figures)
        seconds = sum(each.answers / each.per_second for each in self.figures)
        if left := self._supply.take(self._supply.waiting):
            self.contest.ask(
                _DRAIN_SECONDS, left
            )  # so that every transaction that was written has its answer
        answers = int(self.contest.found["answers"])
        return {
            **{name: value for name, value in asdict(middle).items() if name != "hundredths_ms"},
            "start_seconds": self.start_seconds,
            "memory_started_mib": self.memory_mib,
            "memory_after_mib": tree_memory(self._server.process.pid),
            "database_mib": self.size / 2**20,
            "bytes_per_confirmation": (self._loader.size() - self.size) / answers,
            "events_per_second": self.events / seconds,
        }


def _sheet(arguments: Namespace, sides: list[_Side], loaded: float) -> Sheet:
    few, many = sides
    pairs = zip(few.figures, many.figures, strict=True)
    ratio = median(right.per_second / left.per_second for left, right in pairs)
    found = {side.name: side.result() for side in sides}
    rows: list[list[Cell]] = [
        [name, *(each[name] for each in found.values())] for name in next(iter(found.values()))
    ]
    return Sheet(
        scenario="scale",
        title=f"Confirmations with {many.name} and {arguments.past:,} past transactions, {arguments.database}",
        says=[
            f"{many.name}: {ratio:.2f} of the rate of {few.name} (median of {len(few.figures)} rounds).",
            f"Loading took {loaded:,.0f} s.",
            "A confirmation's bytes count its transaction, answer, events, callback, and room the database took ahead.",
        ],
        grids=[Grid("side by side", ["", *found], rows)],
        plots=[
            Plot(
                "Confirmations per second",
                "/s",
                bars={name: each["per_second"] for name, each in found.items()},
            ),
            Plot(
                "Memory of the gateway after",
                "MiB",
                bars={name: each["memory_after_mib"] for name, each in found.items()},
            ),
        ],
        settings=settings_of(arguments),
        figures={"ratio": ratio, "sides": found, "loading_seconds": loaded},
    )
