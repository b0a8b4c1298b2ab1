"""What do the scenarios that ask a running gateway share: options, a database, doors, and one contest of rounds?"""

import contextlib
import os
import sqlite3
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg

from scripts.benchmarks.contest import ROUNDS, Contest, Supply
from scripts.benchmarks.device_use import free_ports, operations
from scripts.benchmarks.outcome import make_sheet
from scripts.benchmarks.parts import sampled
from scripts.benchmarks.postgres import throw_away_cluster
from scripts.benchmarks.rates import Rate, measure_rates
from scripts.benchmarks.servers import SERVERS, Server, Stage
from scripts.benchmarks.sheet import Sheet

_PROFILE_SECONDS = 5.0
_QUICK = {"seconds": 1.0, "users": 3}
_NOT_SETTINGS = ("command", "json", "html")
Doors = Callable[[Stage], contextlib.AbstractContextManager[Server]]


def add_running_options(parser: ArgumentParser, *, users: int = 50) -> None:
    """Say what can be chosen in each of these scenarios."""
    add = parser.add_argument
    add("--seconds", type=float, default=10, help="how long each side is measured (%(default)s)")
    add("--concurrency", type=int, default=16, help="requests under way at a time (%(default)s)")
    add("--database", choices=("sqlite", "postgresql"), default="sqlite", help="default: %(default)s")
    add("--users", type=int, default=users, help="how many people there are (%(default)s)")
    add("--workers", type=int, default=1, help="processes of the gateway, and of the echo (%(default)s)")
    add("--gateways", type=int, default=1, help="gateways on the one database and token (%(default)s)")
    add("--server", choices=SERVERS, default="hypercorn", help="what both run on (%(default)s)")
    add("--server-cores", type=_cores, default=(), metavar="0,1", help="cores of the servers (any)")
    add("--generator-cores", type=_cores, default=(), metavar="2", help="cores of the load generator (any)")
    add(
        "--profile",
        action="store_true",
        help="then sample the gateway with py-spy: the interpreter's time by part",
    )
    add("--quick", action="store_true", help="see that it works: a second, a few people")


def _cores(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split(","))


@contextlib.contextmanager
def prepared(arguments: Namespace, folder: Path, token_uri: str) -> Iterator[tuple[Stage, int | None]]:
    """Give an initialised stage, and the process of its PostgreSQL if it has one."""
    if arguments.quick:
        vars(arguments).update({name: value for name, value in _QUICK.items() if name in arguments})
    if arguments.generator_cores:
        os.sched_setaffinity(0, arguments.generator_cores)
    with _database(arguments.database, folder) as (url, database):
        stage = Stage.build(
            folder, token_uri, url, arguments.workers, server=arguments.server, cores=arguments.server_cores
        )
        stage.run("init")
        yield stage, database


@contextlib.contextmanager
def _database(kind: str, folder: Path) -> Iterator[tuple[str, int | None]]:
    if kind == "sqlite":
        yield "", None
        return
    with throw_away_cluster(folder) as cluster:
        yield cluster


def copied(stage: Stage, folder: Path) -> Stage:
    """Return a stage with a copy of the database, on the same token and the same server; nobody is connected to it."""
    folder.mkdir()
    kept = {"server": stage.server, "cores": stage.cores}
    if stage.database_url.startswith("sqlite"):
        other = Stage.build(folder, stage.token_uri, "", stage.workers, **kept)  # type: ignore[arg-type]
        with (
            contextlib.closing(sqlite3.connect(stage.folder / "data" / "countersign.db")) as present,
            contextlib.closing(sqlite3.connect(other.folder / "data" / "countersign.db")) as copy,
        ):
            present.backup(copy)
        return other
    scheme, _, place = stage.database_url.partition("://")
    with psycopg.connect(
        f"postgresql://{place.replace('/postgres?', '/template1?')}", autocommit=True
    ) as connection:
        connection.execute("CREATE DATABASE copy TEMPLATE postgres")
    url = f"{scheme}://{place.replace('/postgres?', '/copy?')}"
    return Stage.build(folder, stage.token_uri, url, stage.workers, **kept)  # type: ignore[arg-type]


def contest_sheet(
    arguments: Namespace,
    stage: Stage,
    database: int | None,
    supply: Supply,
    door: Doors,
    title: str,
    *,
    ceilings: Mapping[str, Callable[[float], float]] = MappingProxyType({}),
    rates: Mapping[str, Rate] = MappingProxyType({}),
) -> Sheet:
    """Run the contest between doors of the gateway, an echo and ceilings, and say what came of it."""
    with contextlib.ExitStack() as parts:
        ports = [free_ports(arguments.workers) for _ in range(arguments.gateways)]
        gateways = [parts.enter_context(door(_published(stage, port))) for port in ports]
        contest = Contest(
            gateways=gateways,
            supply=supply,
            connections=arguments.concurrency,
            echo=parts.enter_context(stage.echo()),
            database=database,
            ceilings=ceilings,
        )
        before = operations(ports, arguments.workers)
        rounds = contest.run(arguments.seconds, 1 if arguments.quick else ROUNDS)
        done, answers = operations(ports, arguments.workers) - before, contest.found["answers"]
        profile = _profile(arguments, contest, gateways[0], stage.folder)
    return make_sheet(
        arguments.command,
        title,
        rounds,
        rates=_raw(arguments, stage) | dict(rates),
        per_request={kind: count / answers for kind, count in done.items()},
        settings=settings_of(arguments),
        parts=profile,
    )


def _raw(arguments: Namespace, stage: Stage) -> dict[str, Rate]:
    return measure_rates(stage.token_uri, stage.database_url, 0.1 if arguments.quick else 0.5)


def _published(stage: Stage, port: int) -> Stage:
    return stage.with_settings(metrics_bind=f"127.0.0.1:{port}")


def _profile(
    arguments: Namespace, contest: Contest, gateway: Server, folder: Path
) -> dict[str, float] | None:
    if not arguments.profile:
        return None
    with sampled(gateway.process.pid, folder) as parts:
        contest.ask(_PROFILE_SECONDS)
    return parts


def processes_of(arguments: Namespace) -> str:
    """Say what is measured: how many gateways, each of how many processes, on which server."""
    each = (
        arguments.server if arguments.workers == 1 else f"{arguments.workers} processes of {arguments.server}"
    )
    return each if arguments.gateways == 1 else f"{arguments.gateways} gateways of {each}"


def settings_of(arguments: Namespace) -> dict[str, Any]:
    """Return what was chosen."""
    return {name: value for name, value in vars(arguments).items() if name not in _NOT_SETTINGS}
