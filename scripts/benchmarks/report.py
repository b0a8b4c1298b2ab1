"""How are the figures shown, for people and for programs?"""

import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.benchmarks.rates import Rates
from scripts.benchmarks.rounds import Figures, Round

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run of the benchmark."""

    settings: dict[str, Any]
    rates: Rates
    rounds: list[Round]
    parts: dict[str, float] | None

    @property
    def echo(self) -> Figures:
        """The median of the echo's rounds."""
        return Figures.median_of([each.echo for each in self.rounds])

    @property
    def confirm(self) -> Figures:
        """The median of the confirmations' rounds."""
        return Figures.median_of([each.confirm for each in self.rounds])

    @property
    def ratio(self) -> float:
        """Confirmations per echo: the median of the rounds' ratios, each of two neighbours in time."""
        return median(each.confirm.per_second / each.echo.per_second for each in self.rounds)

    def print(self) -> None:
        """Print it for people."""
        out = Console(highlight=False, width=100)
        out.print(_table(self.echo, self.confirm))
        out.print(f"[bold]Confirmations per echo: {self.ratio:.3f}[/] (median of {len(self.rounds)} rounds)")
        for title, rate in _rates(self.rates):
            out.print(f"{title}: {rate:,.0f} per second")
        out.print(
            f"{self.confirm.answers} confirmations, every one answered 200 with a valid proof. "
            "Plain HTTP on loopback for both."
        )
        if self.parts is not None:
            out.print(_parts_table(self.parts))

    def write_json(self, file: Path) -> None:
        """Write it for programs."""
        found = {
            "machine": {
                "cores": os.cpu_count(),
                "system": platform.platform(),
                "python": platform.python_version(),
            },
            "settings": self.settings,
            "ratio": self.ratio,
            "echo": asdict(self.echo),
            "confirm": asdict(self.confirm),
            "rates": asdict(self.rates),
            "rounds": [asdict(each) for each in self.rounds],
            "parts": self.parts,
        }
        file.write_text(json.dumps(found, indent=2) + "\n")


def _table(echo: Figures, confirm: Figures) -> Table:
    table = Table("median of the rounds")
    for name in ("echo", "confirm"):
        table.add_column(name, justify="right")
    for name, title in _ROWS.items():
        left, right = getattr(echo, name), getattr(confirm, name)
        if left or right:
            table.add_row(title, _number(left), _number(right))
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"  # noqa: PLR2004


def _rates(rates: Rates) -> list[tuple[str, float]]:
    return [
        ("Raw device, one thread, HMAC", rates.macs),
        ("Raw device, one thread, ECDSA verification", rates.verifications),
        ("Raw device, one thread, ECDSA signature", rates.signatures),
        ("Raw database, one connection, durable commits", rates.commits),
    ]


def _parts_table(parts: dict[str, float]) -> Table:
    table = Table("where the interpreter's time goes in a confirmation")
    table.add_column("share", justify="right")
    for part, share in sorted(parts.items(), key=lambda pair: -pair[1]):
        table.add_row(part, f"{share:.1%}")
    return table
