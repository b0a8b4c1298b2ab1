"""The command line of the benchmark: what to measure, how long, on what."""

import argparse
import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scripts.benchmarks.parts import sampled
from scripts.benchmarks.population import Transactions, enrol_phones
from scripts.benchmarks.postgres import throw_away_cluster
from scripts.benchmarks.rates import measure_rates
from scripts.benchmarks.report import Report
from scripts.benchmarks.residency import measure_residency, measure_resident, print_residency
from scripts.benchmarks.rounds import Measurement, Round
from scripts.benchmarks.servers import Stage
from scripts.benchmarks.slow_device import measure_slow_device, print_slow_device
from tests.tokens import configure, create_token

_PROFILE_SECONDS = 5.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    confirm = commands.add_parser(
        "confirm", help="confirmations per second, next to an echo on the same server, in one run"
    )
    add = confirm.add_argument
    add("--seconds", type=float, default=10, help="how long each of the two is measured (%(default)s)")
    add("--concurrency", type=int, default=16, help="requests under way at a time (%(default)s)")
    add("--database", choices=("sqlite", "postgresql"), default="sqlite", help="default: %(default)s")
    add("--users", type=int, default=50, help="how many people confirm (%(default)s)")
    add("--workers", type=int, default=1, help="processes of the gateway, and of the echo (%(default)s)")
    add("--json", type=Path, metavar="FILE", help="write the figures to FILE as well")
    add("--profile", action="store_true", help="then sample the gateway with py-spy: CPU by part")
    device = commands.add_parser("device", help="MACs per second of a slow device with 1, 4 and 16 sessions")
    device.add_argument("--seconds", type=float, default=3, help="for each number (%(default)s)")
    device.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE as well")
    _add_residency(commands)
    return parser.parse_args()


def _add_residency(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    residency = commands.add_parser(
        "residency", help="keys on the token and derived ones, by number of users"
    )
    add = residency.add_argument
    add("--users", type=int, default=1_000_000, help="users of the larger database (%(default)s)")
    add(
        "--hot",
        type=int,
        default=1000,
        help="users who confirm; the smaller database has no others (%(default)s)",
    )
    add(
        "--resident",
        type=int,
        nargs="*",
        default=[10, 100, 1000, 3000, 10_000],
        help="numbers of users with keys on the token (%(default)s)",
    )
    add("--json", type=Path, metavar="FILE", help="write the figures to FILE as well")


def main() -> None:
    """Measure and print; everything is made in a temporary folder and removed at the end."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # clean up then, too
    with tempfile.TemporaryDirectory(prefix="countersign-bench-") as name:
        folder = Path(name)
        configure(folder)
        token_uri = create_token(folder)
        if arguments.command == "device":
            figures = measure_slow_device(folder, token_uri, arguments.seconds)
            print_slow_device(figures)
            if arguments.json:
                arguments.json.write_text(json.dumps(figures))
            return
        if arguments.command == "residency":
            residency = measure_residency(folder, token_uri, arguments.users, arguments.hot)
            residency["resident"] = measure_resident(create_token(folder), arguments.resident)
            print_residency(residency)
            if arguments.json:
                arguments.json.write_text(json.dumps(residency))
            return
        with _database(arguments.database, folder) as (url, database):
            report = _measure(arguments, Stage.build(folder, token_uri, url, arguments.workers), database)
    report.print()
    if arguments.json:
        report.write_json(arguments.json)


@contextlib.contextmanager
def _database(kind: str, folder: Path) -> Iterator[tuple[str, int | None]]:
    if kind == "sqlite":
        yield "", None
        return
    with throw_away_cluster(folder) as cluster:
        yield cluster


def _measure(arguments: argparse.Namespace, stage: Stage, database: int | None) -> Report:
    stage.run("init")
    rates = measure_rates(stage.token_uri, stage.database_url)
    phones = enrol_phones(stage, arguments.users)
    with (
        contextlib.closing(Transactions(stage, phones)) as supply,
        stage.echo() as echo,
        stage.client_door() as gateway,
    ):
        measurement = Measurement(echo, gateway, supply, arguments.concurrency, database)
        rounds: list[Round] = measurement.run(arguments.seconds)
        parts = None
        if arguments.profile:
            with sampled(gateway.process.pid, stage.folder) as parts:
                measurement.confirm(_PROFILE_SECONDS)
    settings = {name: value for name, value in vars(arguments).items() if name not in ("json", "command")}
    return Report(settings=settings, rates=rates, rounds=rounds, parts=parts)


if __name__ == "__main__":
    main()
