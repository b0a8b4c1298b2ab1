"""What came of a run: sentences, tables and plots for people, figures for programs; in one form for every scenario."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.table import Table

Cell = str | float | int | None


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: the first column says what a row is about."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]


@dataclass(frozen=True, slots=True)
class Plot:
    """Either bars by name or lines by name; `x` and `y` name the axes with their units."""

    title: str
    y: str
    x: str = ""
    bars: dict[str, float] = field(default_factory=dict)
    lines: dict[str, list[tuple[float, float]]] = field(default_factory=dict)


def _machine() -> dict[str, Any]:
    return {
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 1),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One run of one scenario."""

    scenario: str
    title: str
    says: list[str]  # what was measured and what came of it, in sentences
    grids: list[Grid] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)  # everything that was measured
    machine: dict[str, Any] = field(default_factory=_machine)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read what `write` wrote. Raises ValueError, TypeError, KeyError."""
        found = json.loads(file.read_text())
        grids = [Grid(**each) for each in found.pop("grids")]
        plots = [Plot(**each) for each in found.pop("plots")]
        return cls(**found, grids=grids, plots=plots)

    def write(self, file: Path) -> None:
        """Write it for programs, and for `scripts/bench report`."""
        file.write_text(json.dumps(asdict(self), indent=1) + "\n")

    def print(self) -> None:
        """Print it for people."""
        out = Console(highlight=False, width=120)
        for grid in self.grids:
            table = Table(title=grid.title, title_justify="left")
            for number, name in enumerate(grid.columns):
                table.add_column(name, justify="right" if number else "left")
            for row in grid.rows:
                table.add_row(*(shown(cell) for cell in row))
            out.print(table)
        for sentence in self.says:
            out.print(sentence)


def shown(cell: Cell) -> str:
    """Return a cell with as many digits as say something."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if cell == round(cell) or abs(cell) >= 100:  # noqa: PLR2004
        return f"{cell:,.0f}"
    return f"{cell:.3f}" if abs(cell) < 1 else f"{cell:.2f}"


def thinned(points: Sequence[tuple[float, float]], most: int = 100) -> list[tuple[float, float]]:
    """Return at most so many of the points, evenly chosen, the last one included."""
    step = max(1, -(-len(points) // most))
    return [*points[: len(points) - 1 : step], points[-1]] if points else []
