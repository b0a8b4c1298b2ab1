"""How do echo and confirmations compare: both in short turns one after the other, so that noise hits them alike."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain, cycle
from math import ceil
from statistics import median, quantiles

from rich.progress import track

from scripts.benchmarks.exchange import Approval
from scripts.benchmarks.load import Answer, run_burst
from scripts.benchmarks.population import Transactions
from scripts.benchmarks.processor_time import Spent
from scripts.benchmarks.servers import Server

ROUNDS = 5
_WARM_SECONDS = 0.5
_FIRST_GUESS = 1000  # confirmations per second, to have enough signed for the first burst
_RESERVE = 1.5


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

    @classmethod
    def median_of(cls, several: "list[Figures]") -> "Figures":
        """Return the median of each figure by itself."""
        names = list(cls.__slots__)
        middle = {name: median(getattr(each, name) for each in several) for name in names}
        return cls(**middle | {"answers": sum(each.answers for each in several)})


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of each, one right after the other."""

    echo: Figures
    confirm: Figures


class Measurement:
    """Bursts against the two servers."""

    def __init__(
        self,
        echo: Server,
        gateway: Server,
        supply: Transactions,
        connections: int,
        database: int | None,
    ) -> None:
        self._echo, self._gateway, self._supply = echo, gateway, supply
        self._connections, self._database = connections, database
        self._rate = float(_FIRST_GUESS)

    def run(self, seconds: float) -> list[Round]:
        """Measure for `seconds` each, in ROUNDS turns, after a short burst that warms both up."""
        self._round(_WARM_SECONDS)
        return [self._round(seconds / ROUNDS) for _ in track(range(ROUNDS), "Measuring")]

    def _round(self, seconds: float) -> Round:
        approvals = self._sign(seconds)
        echo = self._burst(self._echo, approvals, seconds, cycles=True, check=Approval.check_echoed)
        confirm = self.confirm(seconds, approvals)
        return Round(echo, confirm)

    def confirm(self, seconds: float, approvals: list[Approval] | None = None) -> Figures:
        """Confirm for `seconds`."""
        signed = approvals or self._sign(seconds)
        figures = self._burst(self._gateway, signed, seconds, cycles=False, check=Approval.check_confirmed)
        self._rate = max(self._rate if figures.answers == len(signed) else 0, figures.per_second)
        self._supply.give_back([(each.phone, each.shown) for each in signed[figures.answers :]])
        return figures

    def _sign(self, seconds: float) -> list[Approval]:
        count = ceil(self._rate * seconds * _RESERVE) + self._connections
        return [Approval.sign(phone, shown) for phone, shown in self._supply.take(count)]

    def _burst(
        self,
        server: Server,
        approvals: list[Approval],
        seconds: float,
        *,
        cycles: bool,
        check: Callable[[Approval, Answer], None],
    ) -> Figures:
        numbered = [(number, approval.wire) for number, approval in enumerate(approvals)]
        counters = partial(Spent.so_far, server.process.pid, self._database)
        begin: list[Spent] = []
        burst = run_burst(
            server.port,
            cycle(numbered) if cycles else chain(numbered),
            seconds,
            self._connections,
            lambda: begin.append(counters()),
        )
        spent = counters().since(begin[0])
        for answer in burst.answers:
            check(approvals[answer.number], answer)
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
    )
