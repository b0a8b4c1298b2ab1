"""A bank's day in minutes: people of all kinds at both doors, as many as the hour brings, peaks included.

The load of each hour is given, not taken: requests come at random moments of their hour whether or not earlier ones
were answered. The peak is a share of what confirmations alone reached right before, or as many as one says.
"""

import contextlib
import random
from argparse import ArgumentParser, Namespace
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any

from scripts.benchmarks.contest import Contest, Supply
from scripts.benchmarks.create import creation
from scripts.benchmarks.crowd import Crowd
from scripts.benchmarks.enrol import Newcomers
from scripts.benchmarks.exchange import BankCall, Exchange, PhoneCall
from scripts.benchmarks.known_keys import KnownKeys
from scripts.benchmarks.load import Answer
from scripts.benchmarks.offline import Codes
from scripts.benchmarks.population import Approvals, Transactions
from scripts.benchmarks.processor_time import Spent, tree_memory
from scripts.benchmarks.running import add_running_options, prepared, settings_of
from scripts.benchmarks.schedule import Due, run_schedule
from scripts.benchmarks.servers import Server, Stage
from scripts.benchmarks.sheet import Grid, Plot, Sheet
from scripts.benchmarks.verify import Questions, confirm_some

# Shares of the peak by hour of the day: nights are quiet, people pay at noon and in the evening.
_HOURS = (5, 3, 2, 2, 3, 6, 15, 35, 60, 75, 85, 95, 100, 90, 75, 70, 70, 75, 85, 90, 75, 50, 25, 10)
# Of a thousand requests: what a person's confirmation takes, and what else a bank asks.
_MIX = {
    "create": 200,
    "pending": 220,
    "confirm": 200,
    "status": 300,
    "verify": 40,
    "offline": 30,
    "enrol": 10,
}
_PAST = 200
_CONNECTIONS = 64
_MOST_SECONDS = 144.0  # what phones sign beforehand is good for three minutes
_MOST_PEAK_SHARE = 0.5


def add_options(parser: ArgumentParser) -> None:
    """Say what can be chosen."""
    add_running_options(parser, users=100_000)
    parser.set_defaults(seconds=_MOST_SECONDS)  # of the whole day
    add = parser.add_argument
    add("--actors", type=int, default=3000, help="users among them with phones that act (%(default)s)")
    add("--peak", type=float, default=0, help="requests per second at the peak (0: half of what was reached)")


def measure(arguments: Namespace, folder: Path, token_uri: str) -> Sheet:
    """Fill a database with people, find out what the machine can do, and live a day."""
    known = KnownKeys.place(token_uri)
    if arguments.quick:
        vars(arguments).update(actors=20, seconds=5.0)
    with prepared(arguments, folder, token_uri) as (stage, database), contextlib.ExitStack() as parts:
        crowd = Crowd.gather(stage, known, arguments.actors)
        crowd.fill(stage, (100 if arguments.quick else arguments.users) - arguments.actors, 0)
        supplies = _supplies(stage, crowd, parts, _PAST // (10 if arguments.quick else 1))
        client = parts.enter_context(stage.client_door())
        bank = parts.enter_context(stage.application_door())
        reached = Contest(
            gateways=[client],
            supply=supplies["confirm"],
            connections=arguments.concurrency,
            database=database,
        ).ask(0.5 if arguments.quick else 5)
        peak = arguments.peak or reached.per_second * _MOST_PEAK_SHARE
        day = _Day(client, bank, supplies, peak, arguments.seconds / len(_HOURS))
        servers = [client.process.pid, bank.process.pid]
        before = Spent.so_far(servers, database)
        answers = run_schedule(day.plan, _CONNECTIONS)
        spent = Spent.so_far(servers, database).since(before)
        day.check(answers)
        memory = sum(tree_memory(each) for each in servers)
        return _sheet(
            arguments,
            day,
            answers,
            spent,
            {"reached": reached.per_second, "peak": peak, "memory_mib": memory},
        )


def _supplies(stage: Stage, crowd: Crowd, parts: contextlib.ExitStack, past: int) -> dict[str, Supply]:
    """Return where each kind of request comes from."""
    online = parts.enter_context(contextlib.closing(Transactions(stage, crowd.phones)))
    answered = confirm_some(stage, online, past)
    offline = parts.enter_context(contextlib.closing(Transactions(stage, crowd.phones, offline=True)))
    newcomers = parts.enter_context(contextlib.closing(Newcomers(stage, crowd.api_key, "qr_and_code")))
    users = [phone.account.user for phone in crowd.phones]
    ids = [each.shown.transaction for each in answered]
    return {
        "create": _Written(lambda chance: creation(crowd.api_key, chance.choice(users))),
        "pending": _Written(
            lambda chance: PhoneCall.sign(chance.choice(crowd.phones), "transactions.pending", {})
        ),
        "confirm": Approvals(online),
        "status": _Written(lambda chance: _question(crowd.api_key, chance.choice(ids))),
        "verify": Questions(crowd.api_key, answered),
        "offline": Codes(offline, crowd.api_key),
        "enrol": newcomers,
    }


class _Written:
    """Requests that are written one like the other, about somebody by chance."""

    def __init__(self, write: Any) -> None:
        self._write, self._chance = write, random.Random(1)  # noqa: S311  # the same in every run

    def take(self, count: int) -> Sequence[Exchange]:
        return [self._write(self._chance) for _ in range(count)]

    def give_back(self, unused: Sequence[Exchange]) -> None:
        """Forget them."""


def _question(api_key: str, transaction: str) -> BankCall:
    return BankCall.write(
        api_key, f"/v1/transactions/{transaction}", None, lambda said: said["status"] == "confirmed"
    )


class _Day:
    """What is asked when, by whom, and where."""

    def __init__(
        self, client: Server, bank: Server, supplies: dict[str, Supply], peak: float, hour_seconds: float
    ) -> None:
        chance = random.Random(2)  # noqa: S311  # the same in every run
        moments = [
            (hour + chance.random()) * hour_seconds
            for hour, share in enumerate(_HOURS)
            for _ in range(round(peak * share / 100 * hour_seconds))
        ]
        self.kinds = chance.choices(list(_MIX), list(_MIX.values()), k=len(moments))
        ready = {kind: list(supplies[kind].take(count)) for kind, count in Counter(self.kinds).items()}
        self.exchanges = [ready[kind].pop() for kind in self.kinds]
        self.hours = [int(moment / hour_seconds) for moment in sorted(moments)]
        ports = {kind: client.port if kind in ("pending", "confirm") else bank.port for kind in _MIX}
        self.plan = [
            Due(moment, ports[kind], number, exchange.wire)
            for number, (moment, kind, exchange) in enumerate(
                zip(sorted(moments), self.kinds, self.exchanges, strict=True)
            )
        ]

    def check(self, answers: Sequence[Answer]) -> None:
        """Raise WrongAnswer unless all are right."""
        for answer in answers:
            self.exchanges[answer.number].check(answer)


def _sheet(
    arguments: Namespace, day: _Day, answers: Sequence[Answer], spent: Spent, found: dict[str, float]
) -> Sheet:
    by_hour: defaultdict[int, list[float]] = defaultdict(list)
    by_kind: defaultdict[str, list[float]] = defaultdict(list)
    for answer in answers:
        by_hour[day.hours[answer.number]].append(answer.seconds * 1000)
        by_kind[day.kinds[answer.number]].append(answer.seconds * 1000)
    hours = {hour: _percentiles(by_hour[hour]) for hour in sorted(by_hour)}
    kinds = {kind: [len(took), *_percentiles(took)] for kind, took in by_kind.items()}
    count = len(answers)
    cpu = {"both doors": spent.server, "PostgreSQL": spent.database, "generator": spent.generator}
    return Sheet(
        scenario="mixed",
        title=f"A bank's day with {arguments.users:,} derived users, {arguments.database}, {arguments.server}",
        says=[
            f"{count:,} requests, every answer checked.",
            f"Confirmations alone had reached {found['reached']:,.0f} per second; the peak: {found['peak']:,.0f}.",
            f"Memory of both doors at the end: {found['memory_mib']:,.0f} MiB.",
        ],
        grids=_grids(hours, kinds, {name: value / count * 1000 for name, value in cpu.items()}),
        plots=_plots(hours, found["peak"]),
        settings=settings_of(arguments),
        figures=found | {"hours": hours, "kinds": kinds, "cpu_seconds": cpu, "requests": count},
    )


def _grids(hours: dict[int, list[float]], kinds: dict[str, list[float]], cpu: dict[str, float]) -> list[Grid]:
    columns = ["p50, ms", "p95, ms", "p99, ms"]
    return [
        Grid("by kind", ["", "requests", *columns], [[kind, *values] for kind, values in kinds.items()]),
        Grid("by hour", ["hour", *columns], [[str(hour), *values] for hour, values in hours.items()]),
        Grid("CPU, ms per request", ["", "ms"], [[name, value] for name, value in cpu.items()]),
    ]


def _plots(hours: dict[int, list[float]], peak: float) -> list[Plot]:
    lines: dict[str, list[tuple[float, float]]] = {
        f"p{at}": [(hour, each[place]) for hour, each in hours.items()]
        for place, at in enumerate((50, 95, 99))
    }
    load: list[tuple[float, float]] = [(hour, peak * share / 100) for hour, share in enumerate(_HOURS)]
    return [
        Plot("The day", "ms", "hour", lines=lines),
        Plot("Load", "requests/s", "hour", lines={"given": load}),
    ]


def _percentiles(took: Sequence[float]) -> list[float]:
    hundredths = quantiles(took if len(took) > 1 else [*took, *took], n=100, method="inclusive")
    return [hundredths[at - 1] for at in (50, 95, 99)]
