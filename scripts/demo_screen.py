"""How does the demo speak? Numbered steps in plain words, readable on a terminal as in a log."""

import sys
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tests.counterparts.phone_command import visible

WIDEST = 100
INDENT = (0, 0, 0, 4)


class Screen:
    """Writes to standard output. Everything is taken as it is: no markup, and no sign that moves the cursor."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False)
        # Without a terminal there is no width to ask for.
        self._console.width = min(self._console.width, WIDEST) if self._console.is_terminal else WIDEST
        self._numbers = count(1)

    def _put(self, what: RenderableType) -> None:
        with self._console.capture() as captured:
            self._console.print(what)
        # Without the blanks that fill lines up, which a log has no use for.
        lines = captured.get().split("\n")
        print("\n".join(line.rstrip() for line in lines), end="", flush=True)

    def title(self, words: str) -> None:
        """Say what this is."""
        self._put(Text(words, style="bold"))

    def step(self, words: str) -> None:
        """Begin the next step."""
        self._put(Text())
        self._put(Text(f"{next(self._numbers):2}  {words}", style="bold cyan"))

    def say(self, words: str) -> None:
        """Tell what happened."""
        self._put(Padding(Text(visible(words)), INDENT, expand=False))

    def keys(self, words: str) -> None:
        """Tell where the keys are."""
        self._put(Padding(Text(f"Keys: {words}", style="yellow"), INDENT, expand=False))

    def facts(self, **values: object) -> None:
        """Show names with their values; an underscore in a name is a space."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in values.items():
            shown = near(value) if isinstance(value, Path) else str(value)
            grid.add_row(name.replace("_", " "), Text(visible(shown)))
        self._put(Padding(grid, INDENT, expand=False))

    def table(self, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
        """Show a table."""
        table = Table(*heads, box=None, header_style="dim", padding=(0, 1, 0, 0))
        for row in rows:
            table.add_row(*row)
        self._put(Padding(table, INDENT, expand=False))

    def success(self, words: str) -> None:
        """Say that all went well."""
        self._put(Text())
        self._put(Text(words, style="bold green"))

    def failure(self, words: str) -> None:
        """Say what went wrong."""
        print(f"demo: {visible(words)}", file=sys.stderr)


def near(path: Path) -> str:
    """Return the path as somebody standing here would write it."""
    here = Path.cwd()
    is_below = path.is_relative_to(here) and here != Path("/")
    return str(path.relative_to(here) if is_below else path)
