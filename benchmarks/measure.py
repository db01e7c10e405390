"""Rows, goals and alternating measurements, shared by all benchmarks."""

import gc
import math
import shutil
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
ANCHORS = ROOT / "benchmarks" / "anchors"
# `make bench` installs requirements/anchors.txt here, because anchors are not part of the product.
ANCHORS_PYTHON = Path(sys.prefix) / "anchors" / "bin" / "python"


class MissingAnchorError(Exception):
    """An anchor is not installed on this machine. The message says how to install it."""


@dataclass(frozen=True)
class Goal:
    """The range for the ratio of our figure to the figure of the anchor."""

    lowest: float = 0.0
    highest: float = math.inf

    def room_for(self, ratio: float) -> float:
        """Return the distance of a ratio from the nearest limit, negative outside the range."""
        return min(ratio - self.lowest, self.highest - ratio)

    def is_met_by(self, ratio: float) -> bool:
        return self.room_for(ratio) >= 0

    def __str__(self) -> str:
        if self.lowest and self.highest < math.inf:
            return f"{self.lowest:.2f} – {self.highest:.2f}"
        return f"≥ {self.lowest:.2f}" if self.lowest else f"≤ {self.highest:.2f}"


def at_most(limit: float) -> Goal:
    return Goal(highest=limit)


def at_least(limit: float) -> Goal:
    return Goal(lowest=limit)


def within(share: float) -> Goal:
    """Return the goal of a ratio of 1, plus or minus this fraction."""
    return Goal(1 - share, 1 + share)


@dataclass(frozen=True)
class Row:
    """One line of the table. Both figures are in the same unit."""

    name: str
    anchor: float
    ours: float
    unit: str
    goal: Goal

    @property
    def ratio(self) -> float:
        return self.ours / self.anchor

    @property
    def share_of_goal(self) -> float:
        """The ratio divided by its limit, inverted for a lower limit: at most 1 is good."""
        if self.goal.highest < math.inf:
            return self.ratio / self.goal.highest
        return self.goal.lowest / self.ratio

    @property
    def met(self) -> bool:
        return self.goal.is_met_by(self.ratio)


def in_turns(
    anchor: Callable[[], float], ours: Callable[[], float], *, pairs: int, warm_up: int = 1
) -> tuple[float, float]:
    """Alternate two measurements and return their medians. Changes of the machine affect both.

    Args:
        anchor, ours: functions that measure once and return the figure.
        pairs: the number of figures of each that count.
        warm_up: the number of earlier pairs that do not count.
    Returns: the median of the anchor and our median.
    """
    figures: list[tuple[float, float]] = []
    for turn in range(warm_up + pairs):
        gc.collect()
        # The second measurement finds the caches as the first left them, so alternate the order.
        pair = (anchor(), ours()) if turn % 2 else (ours(), anchor())[::-1]
        figures.append(pair)
    counted = figures[warm_up:]
    return statistics.median(a for a, _ in counted), statistics.median(o for _, o in counted)


def worst(rows: list[Row], name: str) -> Row:
    """Return the row that is farthest outside its goal, or nearest to its limit, as `name`."""
    return replace(min(rows, key=lambda row: row.goal.room_for(row.ratio)), name=name)


def anchors_python() -> str:
    """Return the Python interpreter of the environment with the anchors."""
    if not ANCHORS_PYTHON.exists():
        raise MissingAnchorError("The anchors are not installed. Run make bench to install them.")
    return str(ANCHORS_PYTHON)


def tool(name: str, how_to_install: str) -> str:
    """Return the path of a program that a benchmark needs."""
    path = shutil.which(name)
    if path is None:
        raise MissingAnchorError(f"{name} is not installed. Install it: {how_to_install}")
    return path
