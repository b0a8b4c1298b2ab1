"""A thousand phones that long-poll: the memory they cost, and what they take from the confirmations of others."""

import contextlib
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from scripts.benchmarks.contest import ROUNDS, Contest, Figures
from scripts.benchmarks.crowd import Crowd
from scripts.benchmarks.known_keys import KnownKeys
from scripts.benchmarks.pollers import write_phones
from scripts.benchmarks.population import Approvals, Transactions
from scripts.benchmarks.processor_time import tree_memory, tree_seconds
from scripts.benchmarks.running import add_running_options, prepared, settings_of
from scripts.benchmarks.servers import Server
from scripts.benchmarks.sheet import Cell, Grid, Plot, Sheet

_ACTORS = 50
_IDLE_SECONDS = 5.0
_ROWS = ("per_second", "p50_ms", "p95_ms", "p99_ms", "server_cpu_ms", "database_cpu_ms", "others_cores")


def add_options(parser: ArgumentParser) -> None:
    """Say what can be chosen."""
    add_running_options(parser, users=_ACTORS)
    parser.add_argument("--phones", type=int, default=1000, help="that wait (%(default)s)")


def measure(arguments: Namespace, folder: Path, token_uri: str) -> Sheet:
    """Let some confirm while nobody waits, and while everybody else does, in turns."""
    known = KnownKeys.place(token_uri)
    if arguments.quick:
        arguments.phones = 20
    with prepared(arguments, folder, token_uri) as (stage, database):
        crowd = Crowd.gather(stage, known, arguments.users + arguments.phones)
        actors, others = crowd.phones[: arguments.users], crowd.phones[arguments.users :]
        write_phones(others, folder / "phones.json")
        with contextlib.closing(Transactions(stage, actors)) as online, stage.client_door() as server:
            contest = Contest(
                gateways=[server],
                supply=Approvals(online),
                connections=arguments.concurrency,
                database=database,
            )
            contest.ask(0.2 if arguments.quick else 2)
            with _waiting(folder / "phones.json", server):
                pass  # what is allocated once for so many connections is not meant, nor are keys made once
            memory, alone, beside, idle = tree_memory(server.process.pid), [], [], 0.0
            rounds = 1 if arguments.quick else ROUNDS
            most = memory
            for _ in range(rounds):
                alone.append(contest.ask(arguments.seconds / rounds))
                with _waiting(folder / "phones.json", server):
                    most = max(most, tree_memory(server.process.pid))
                    idle = _cores_used(server, 1.0 if arguments.quick else _IDLE_SECONDS)
                    beside.append(contest.ask(arguments.seconds / rounds))
        return _sheet(
            arguments,
            alone,
            beside,
            {"memory_before_mib": memory, "memory_most_mib": most, "idle_cores": idle},
        )


@contextlib.contextmanager
def _waiting(file: Path, server: Server) -> Iterator[None]:
    command = [sys.executable, "-m", "scripts.benchmarks.pollers", str(file), str(server.port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        if program.stdout.readline() != "waiting\n":
            raise SystemExit("the waiting phones did not come to wait")
        yield
        program.stdin.close()
        program.wait(30)
    if program.returncode:
        raise SystemExit("a waiting phone got a wrong answer")


def _cores_used(server: Server, seconds: float) -> float:
    """Return how many cores the gateway uses while everybody just waits."""
    before, began = tree_seconds(server.process.pid), time.perf_counter()
    time.sleep(seconds)
    return (tree_seconds(server.process.pid) - before) / (time.perf_counter() - began)


def _sheet(
    arguments: Namespace, alone: list[Figures], beside: list[Figures], found: dict[str, float]
) -> Sheet:
    left, right = Figures.median_of(alone), Figures.median_of(beside)
    ratio = median(b.per_second / a.per_second for a, b in zip(alone, beside, strict=True))
    rows: list[list[Cell]] = [[name, getattr(left, name), getattr(right, name)] for name in _ROWS]
    cost = found["memory_most_mib"] - found["memory_before_mib"]
    return Sheet(
        scenario="waiting",
        title=f"{arguments.phones:,} phones that wait, {arguments.database}, {arguments.server}",
        says=[
            f"They cost {cost:.1f} MiB of the gateway, and {found['idle_cores']:.2f} cores while nothing else happens.",
            f"Confirmations of others: {ratio:.2f} of what they are without them (median of {len(alone)} rounds).",
        ],
        grids=[Grid("confirmations", ["", "nobody waits", f"{arguments.phones:,} wait"], rows)],
        plots=[
            Plot(
                "Confirmations per second",
                "/s",
                bars={"nobody waits": left.per_second, "phones wait": right.per_second},
            )
        ],
        settings=settings_of(arguments),
        figures=found | {"ratio": ratio, "cost_mib": cost, "rows": rows},
    )
