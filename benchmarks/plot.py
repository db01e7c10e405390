"""Draw the ratios of the last runs as an SVG, each divided by its goal: below 1 is better."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

KEPT_RUNS = 12

_ROW_HEIGHT, _NAME_WIDTH, _PLOT_WIDTH, _MARGIN = 20, 240, 480, 30
# The scale ends at twice the goal. Values beyond it are drawn at the end.
_LARGEST = 2.0


@dataclass(frozen=True)
class Point:
    """The mark of one row in one run.

    Attributes:
        share: the ratio divided by its goal; inverted if the goal is a lower limit.
    """

    share: float
    met: bool


def draw(runs: Sequence[Mapping[str, Point]]) -> str:
    """Return an SVG with a line for each row and a mark for each run. The newest mark is filled."""
    names = list(dict.fromkeys(name for run in reversed(runs) for name in run))
    height = 2 * _MARGIN + _ROW_HEIGHT * len(names)
    width = _NAME_WIDTH + _PLOT_WIDTH + _MARGIN
    goal_x = _x(1.0)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f"<title>Ratios of the last {len(runs)} runs, divided by their goals</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<line x1="{goal_x}" x2="{goal_x}" y1="{_MARGIN}" y2="{height - _MARGIN}"'
        ' stroke="#555" stroke-dasharray="4 3"/>',
        f'<text x="{goal_x}" y="20" text-anchor="middle" fill="#333">goal</text>',
        f'<text x="{_NAME_WIDTH}" y="20" fill="#333">better</text>',
    ]
    for row, name in enumerate(names):
        y = _MARGIN + _ROW_HEIGHT * row + _ROW_HEIGHT // 2
        lines.append(
            f'<text x="{_NAME_WIDTH - 10}" y="{y + 4}" text-anchor="end" fill="#222">'
            f"{escape(name)}</text>"
        )
        for run in runs:
            if name in run:
                lines.append(_mark(run[name], y, is_newest=run is runs[-1]))
    return "\n".join([*lines, "</svg>", ""])


def _mark(point: Point, y: int, *, is_newest: bool) -> str:
    color = "#1a7f37" if point.met else "#b42318"
    fill = color if is_newest else "none"
    radius = 5 if is_newest else 3
    return f'<circle cx="{_x(point.share)}" cy="{y}" r="{radius}" stroke="{color}" fill="{fill}"/>'


def _x(share: float) -> int:
    return _NAME_WIDTH + round(_PLOT_WIDTH * min(share, _LARGEST) / _LARGEST)
