"""How does a plot look as SVG: bars or lines, a few ticks, no script, no font of its own?"""

from html import escape
from math import floor, log10

from scripts.benchmarks.sheet import Plot, shown

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 640, 260, 64, 40, 28, 12
_COLOURS = ("#2563a8", "#c2571a", "#2f7d4f", "#8a4fa3", "#7a6a1f", "#a02c4a")
_TICKS = 5
_BAR, _GAP, _NAMES = 18, 8, 220


def draw(plot: Plot) -> str:
    """Return an `<svg>` element."""
    return _bars(plot) if plot.bars else _lines(plot)


def _svg(height: float, title: str, inside: list[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="{escape(title)}">'
        f'<text x="0" y="14" class="t">{escape(title)}</text>{"".join(inside)}</svg>'
    )


def _bars(plot: Plot) -> str:
    longest = max(plot.bars.values()) or 1
    room, y, inside = _WIDTH - _NAMES - 90, _TOP, []
    for number, (name, value) in enumerate(plot.bars.items()):
        width, colour = value / longest * room, _COLOURS[number % len(_COLOURS)]
        inside += [
            f'<text x="{_NAMES - 8}" y="{y + 13}" class="e">{escape(name)}</text>',
            f'<rect x="{_NAMES}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>',
            f'<text x="{_NAMES + width + 6:.1f}" y="{y + 13}">{shown(value)} {escape(plot.y)}</text>',
        ]
        y += _BAR + _GAP
    return _svg(y, plot.title, inside)


def _lines(plot: Plot) -> str:
    points = [point for line in plot.lines.values() for point in line]
    right, top = max(x for x, _ in points) or 1, _round_up(max(y for _, y in points))
    bottom = _HEIGHT - _BOTTOM

    def place(x: float, y: float) -> str:
        return f"{_LEFT + x / right * (_WIDTH - _LEFT - _RIGHT):.1f},{bottom - y / top * (bottom - _TOP):.1f}"

    inside = _axes(plot, right, top)
    for number, (name, line) in enumerate(plot.lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(place(x, y) for x, y in line)
        inside += [
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>',
            f'<text x="{_WIDTH - _RIGHT}" y="{14 + 14 * number}" class="e" fill="{colour}">{escape(name)}</text>',
        ]
    return _svg(_HEIGHT, plot.title, inside)


def _axes(plot: Plot, right: float, top: float) -> list[str]:
    bottom, made = _HEIGHT - _BOTTOM, []
    for tick in range(_TICKS + 1):
        y = bottom - tick / _TICKS * (bottom - _TOP)
        x = _LEFT + tick / _TICKS * (_WIDTH - _LEFT - _RIGHT)
        made += [
            f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>',
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" class="e">{shown(top * tick / _TICKS)}</text>',
            f'<text x="{x:.1f}" y="{bottom + 16}" class="e">{shown(right * tick / _TICKS)}</text>',
        ]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    made.append(
        f'<text x="{middle}" y="{_HEIGHT - 6}" class="e">{escape(plot.x)}; upwards: {escape(plot.y)}</text>'
    )
    return made


def _round_up(value: float) -> float:
    """Return the next number whose fifths are short."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** floor(log10(value))
    return next(step * unit for step in (1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10) if step * unit >= value)
