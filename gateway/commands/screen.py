"""How is something printed for people: as it is, whatever somebody outside put into it?

Users' ids and reasons come from applications. Nothing in them may colour, hide or move what an operator reads, nor
keep the rest from being read.
"""

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

_WIDEST = 10_000


def screen() -> Console:
    """Return a console that takes nothing in a text for an instruction of its own."""
    return Console(markup=False, emoji=False)


def plain(text: str) -> str:
    """Return the text with everything that no screen shows as a sign written out."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def lay_out(*names: str) -> Table:
    """Return an empty table of these columns, without lines between them."""
    return Table(*names, box=None, pad_edge=False)


def show(out: Console, table: Table) -> None:
    """Print a table in its full width: an id that is broken in two can be neither copied nor searched for."""
    wide = out.options.update(max_width=_WIDEST)
    out.width = max(out.width, Measurement.get(out, wide, table).maximum)
    out.print(table, highlight=False)
