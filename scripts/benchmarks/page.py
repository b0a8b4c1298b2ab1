"""How do runs become one page of HTML that needs nothing else: no script, no picture, no style from elsewhere?"""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from scripts.benchmarks.drawing import draw
from scripts.benchmarks.sheet import Grid, Sheet, shown

_TITLE = "Countersign: measured"
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0}caption{text-align:left;font-weight:600}
th,td{padding:.15rem .7rem;border-bottom:1px solid #ddd;text-align:right}th:first-child,td:first-child{text-align:left}
svg{max-width:40rem;display:block;margin:1rem 0}text{font:12px system-ui,sans-serif}
.t{font-weight:600}.e{text-anchor:end}
.s{color:#666;font-size:13px}
"""


def write_page(sheets: Sequence[Sheet], file: Path) -> None:
    """Write all runs into `file`."""
    contents = "".join(
        f'<li><a href="#r{number}">{escape(each.title)}</a>' for number, each in enumerate(sheets)
    )
    body = "".join(_section(number, each) for number, each in enumerate(sheets))
    day = datetime.now(UTC).date().isoformat()
    head = f'<meta charset="utf-8"><title>{_TITLE}</title><style>{_STYLE}</style>'
    how = (
        f"Written by <code>scripts/bench report</code> on {day}. What each figure means is said in "
        "docs/explanation/performance.md."
    )
    file.write_text(
        f'<!doctype html><html lang="en">{head}<h1>{_TITLE}</h1><p>{how}</p><ul>{contents}</ul>{body}</html>\n'
    )


def _section(number: int, sheet: Sheet) -> str:
    said = "".join(f"<p>{escape(each)}</p>" for each in sheet.says)
    settings = ", ".join(f"{name} {value}" for name, value in {**sheet.settings, **sheet.machine}.items())
    tables = "".join(_table(each) for each in sheet.grids)
    plots = "".join(draw(each) for each in sheet.plots)
    return f'<h2 id="r{number}">{escape(sheet.title)}</h2>{said}{tables}{plots}<p class="s">{escape(settings)}</p>'


def _table(grid: Grid) -> str:
    head = "".join(f"<th>{escape(each)}" for each in grid.columns)
    rows = "".join("<tr>" + "".join(f"<td>{escape(shown(cell))}" for cell in row) for row in grid.rows)
    return f"<table><caption>{escape(grid.title)}</caption><tr>{head}{rows}</table>"
