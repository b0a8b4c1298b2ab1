"""How do the rounds of a contest become a sheet: medians, ratios to each ceiling, and where the CPU went?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from scripts.benchmarks.contest import Figures, Round
from scripts.benchmarks.rates import Rate
from scripts.benchmarks.sheet import Cell, Grid, Plot, Sheet

_ROWS = {
    "per_second": "answers per second",
    "p50_ms": "latency p50, ms",
    "p95_ms": "latency p95, ms",
    "p99_ms": "latency p99, ms",
    "server_cpu_ms": "server CPU, ms per request",
    "database_cpu_ms": "PostgreSQL CPU, ms per request",
    "generator_cpu_ms": "generator CPU, ms per request",
    "others_cores": "cores used by others meanwhile",
}


def make_sheet(
    scenario: str,
    title: str,
    rounds: Sequence[Round],
    *,
    rates: Mapping[str, Rate],
    per_request: Mapping[str, float],
    settings: Mapping[str, Any],
    parts: Mapping[str, float] | None = None,
) -> Sheet:
    """Put everything together; `per_request`: operations on the token by kind, for one request."""
    gateway = Figures.median_of([each.gateway for each in rounds])
    echoes = [each.echo for each in rounds if each.echo]
    echo = Figures.median_of(echoes) if echoes else None
    ratios = _ratios(rounds)
    split = _split(gateway, echo, rates, per_request)
    sheet = Sheet(
        scenario=scenario,
        title=title,
        says=_sentences(gateway, ratios, len(rounds)),
        grids=[_medians(gateway, echo), _ceilings(rates, rounds), *_shares(split, per_request)],
        plots=_plots(scenario, gateway, echo, rounds, split),
        settings=dict(settings),
        figures={
            "ratios": ratios,
            scenario: asdict(gateway),
            "echo": None if echo is None else asdict(echo),
            "rates": {name: asdict(rate) for name, rate in rates.items()},
            "cpu_split_ms": split,
            "per_request": dict(per_request),
            "rounds": [_short(each) for each in rounds],
        },
    )
    if parts:
        _add_profile(sheet, parts)
    return sheet


def _add_profile(sheet: Sheet, parts: Mapping[str, float]) -> None:
    title = "where the interpreter's time goes"
    shares = dict(sorted(parts.items(), key=lambda pair: -pair[1]))
    sheet.grids.append(Grid(title, ["part", "share"], [[name, share] for name, share in shares.items()]))
    sheet.plots.append(Plot(title.capitalize(), "", bars=shares))


def _shares(split: Mapping[str, float], per_request: Mapping[str, float]) -> list[Grid]:
    counts: list[list[Cell]] = [[kind, round(count, 2)] for kind, count in sorted(per_request.items())]
    return [
        Grid("CPU of a request, ms", ["part", "ms"], [[name, value] for name, value in split.items()]),
        Grid("operations on the token for a request", ["kind", "how many"], counts),
    ]


def _ratios(rounds: Sequence[Round]) -> dict[str, float]:
    """Return the median of the rounds' ratios, each of neighbours in time."""
    found = {}
    if rounds[0].echo is not None:
        found["echo"] = median(each.gateway.per_second / each.echo.per_second for each in rounds if each.echo)
    for name in rounds[0].ceilings:
        found[name] = median(each.gateway.per_second / each.ceilings[name] for each in rounds)
    return found


def _split(
    gateway: Figures, echo: Figures | None, rates: Mapping[str, Rate], per_request: Mapping[str, float]
) -> dict[str, float]:
    """Return milliseconds of CPU: what an echo costs, the token by itself, PostgreSQL, and the rest.

    The rest is Python, and SQLite where that is the database: it runs in the gateway's own processes.
    """
    http = echo.server_cpu_ms if echo else 0.0
    device = sum(rates[kind].cpu_ms * count for kind, count in per_request.items() if kind in rates)
    rest = max(0.0, gateway.server_cpu_ms - http - device)
    parts = {"HTTP (an echo)": http, "device (raw operations)": device, "Python and the rest": rest}
    return parts | ({"PostgreSQL": gateway.database_cpu_ms} if gateway.database_cpu_ms else {})


def _sentences(gateway: Figures, ratios: Mapping[str, float], rounds: int) -> list[str]:
    said = [f"Per {name}: {ratio:.3f} (median of {rounds} rounds)." for name, ratio in ratios.items()]
    spread = f"p99 is {gateway.p99_ms / gateway.p50_ms:.1f} times p50."
    return [*said, f"{spread} {gateway.answers:,} answers, every one checked. Plain HTTP on loopback."]


def _medians(gateway: Figures, echo: Figures | None) -> Grid:
    rows: list[list[Cell]] = []
    for name, title in _ROWS.items():
        left, right = getattr(echo, name) if echo else None, getattr(gateway, name)
        if left or right:
            rows.append([title, *([left] if echo else []), right])
    return Grid("medians of the rounds", ["", *(["echo"] if echo else []), "gateway"], rows)


def _ceilings(rates: Mapping[str, Rate], rounds: Sequence[Round]) -> Grid:
    rows: list[list[Cell]] = [
        [f"{name}, one thread", rate.per_second, rate.cpu_ms] for name, rate in rates.items()
    ]
    rows += [[name, median(each.ceilings[name] for each in rounds), None] for name in rounds[0].ceilings]
    return Grid("by themselves", ["operation", "per second", "CPU, ms each"], rows)


def _plots(
    scenario: str, gateway: Figures, echo: Figures | None, rounds: Sequence[Round], split: dict[str, float]
) -> list[Plot]:
    bars = {"echo": echo.per_second} if echo else {}
    bars |= {name: median(each.ceilings[name] for each in rounds) for name in rounds[0].ceilings}
    sides = {scenario: gateway} | ({"echo": echo} if echo else {})
    lines = {
        name: [(float(at), ms) for at, ms in enumerate(each.hundredths_ms, 1)] for name, each in sides.items()
    }
    return [
        Plot("Per second", "/s", bars=bars | {scenario: gateway.per_second}),
        Plot("CPU of a request", "ms", bars=split),
        Plot("Latency by percentile", "ms", "percent of the answers took no longer", lines=lines),
    ]


def _short(found: Round) -> dict[str, Any]:
    def plain(figures: Figures | None) -> dict[str, Any] | None:
        return None if figures is None else {k: v for k, v in asdict(figures).items() if k != "hundredths_ms"}

    return {"gateway": plain(found.gateway), "echo": plain(found.echo), "ceilings": found.ceilings}
