"""How do echo, gateway and ceilings compare: all in short turns one after the other, so that noise hits them alike."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, cycle
from math import ceil
from statistics import median, quantiles
from typing import Any, Protocol

from rich.progress import track

from scripts.benchmarks.exchange import Exchange, check_echoed
from scripts.benchmarks.load import Answer, run_burst
from scripts.benchmarks.processor_time import Spent
from scripts.benchmarks.servers import Server

ROUNDS = 5
_WARM_SECONDS = 0.5
_FIRST_GUESS = 300  # requests per second, to have enough ready for the first burst
_RESERVE = 1.5


class Supply(Protocol):
    """Where requests come from. Each is taken once; what was not sent is given back."""

    def take(self, count: int) -> Sequence[Exchange]:
        """Return so many requests that are good for this moment, ready to be sent."""
        ...

    def give_back(self, unused: Sequence[Exchange]) -> None:
        """Take back what was not sent."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What came of one burst; CPU in milliseconds per request, latencies in milliseconds."""

    answers: int
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    server_cpu_ms: float
    database_cpu_ms: float
    generator_cpu_ms: float
    others_cores: float
    hundredths_ms: list[float] = field(default_factory=list)

    @classmethod
    def median_of(cls, several: "Sequence[Figures]") -> "Figures":
        """Return the median of each figure by itself."""
        names = [name for name in cls.__slots__ if name != "hundredths_ms"]
        middle = {name: median(getattr(each, name) for each in several) for name in names}
        hundredths = [
            median(column) for column in zip(*(each.hundredths_ms for each in several), strict=True)
        ]
        return cls(**middle | {"answers": sum(each.answers for each in several), "hundredths_ms": hundredths})


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of each, one right after the other; ceilings are operations per second."""

    gateway: Figures
    echo: Figures | None
    ceilings: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Bursts against the gateway, a bare echo of the same requests, and what limits it."""

    gateways: Sequence[Server]
    supply: Supply
    connections: int
    echo: Server | None = None
    database: int | None = None  # the process of PostgreSQL, for its CPU
    ceilings: Mapping[str, Callable[[float], float]] = field(default_factory=dict)  # from seconds to a rate
    found: dict[str, Any] = field(default_factory=dict)  # how many per second, to have enough ready next time

    def run(self, seconds: float, rounds: int = ROUNDS) -> list[Round]:
        """Measure each for `seconds`, in turns, after a short burst that warms all up."""
        self._round(min(_WARM_SECONDS, seconds))
        return [self._round(seconds / rounds) for _ in track(range(rounds), "Measuring")]

    def _round(self, seconds: float) -> Round:
        ready = self._ready(seconds)
        echo = None if self.echo is None else self._burst([self.echo], ready, seconds, echoes=True)
        return Round(
            self.ask(seconds, ready), echo, {name: rate(seconds) for name, rate in self.ceilings.items()}
        )

    def ask(self, seconds: float, ready: Sequence[Exchange] | None = None) -> Figures:
        """Send requests for `seconds`, and check every answer."""
        taken = ready or self._ready(seconds)
        figures = self._burst(self.gateways, taken, seconds, echoes=False)
        ran_out = figures.answers == len(taken)
        self.found["rate"] = max(self.found.get("rate", 0) if ran_out else 0, figures.per_second)
        self.found["answers"] = self.found.get("answers", 0) + figures.answers
        self.supply.give_back(taken[figures.answers :])
        return figures

    def _ready(self, seconds: float) -> Sequence[Exchange]:
        rate = self.found.get("rate", _FIRST_GUESS)
        return self.supply.take(ceil(rate * seconds * _RESERVE) + self.connections)

    def _burst(
        self, servers: Sequence[Server], ready: Sequence[Exchange], seconds: float, *, echoes: bool
    ) -> Figures:
        numbered = [(number, each.wire) for number, each in enumerate(ready)]
        requests: Iterator[tuple[int, bytes]] = cycle(numbered) if echoes else chain(numbered)
        pids, begin = [each.process.pid for each in servers], list[Spent]()
        burst = run_burst(
            [each.port for each in servers],
            requests,
            seconds,
            self.connections,
            lambda: begin.append(Spent.so_far(pids, self.database)),
        )
        spent = Spent.so_far(pids, self.database).since(begin[0])
        for answer in burst.answers:
            if echoes:
                check_echoed(ready[answer.number], answer)
            else:
                ready[answer.number].check(answer)
        return _figures(burst.answers, burst.seconds, spent)


def _figures(answers: list[Answer], seconds: float, spent: Spent) -> Figures:
    count = len(answers)
    took = [answer.seconds * 1000 for answer in answers]
    hundredths = quantiles(took if count > 1 else took * 2, n=100, method="inclusive")
    return Figures(
        answers=count,
        per_second=count / seconds,
        p50_ms=hundredths[49],
        p95_ms=hundredths[94],
        p99_ms=hundredths[98],
        server_cpu_ms=spent.server / count * 1000,
        database_cpu_ms=spent.database / count * 1000,
        generator_cpu_ms=spent.generator / count * 1000,
        others_cores=spent.others / seconds,
        hundredths_ms=[round(each, 3) for each in hundredths],
    )
