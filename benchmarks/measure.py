"""What every benchmark shares: its row, its goal, and a fair way to take turns."""

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
# `make bench` installs anchors/requirements.txt here: an anchor is not a part of the product.
ANCHORS_PYTHON = Path(sys.prefix) / "anchors" / "bin" / "python"


class MissingAnchorError(Exception):
    """What a benchmark compares with is not on this machine. The message says how to get it."""


@dataclass(frozen=True)
class Goal:
    """Between what a ratio, ours to the anchor's, should lie."""

    lowest: float = 0.0
    highest: float = math.inf

    def room_for(self, ratio: float) -> float:
        """How far a ratio is from failing; below 0, how far it has."""
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
    """The same as the anchor, or off by no more than this share of it."""
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
    def met(self) -> bool:
        return self.goal.is_met_by(self.ratio)


def in_turns(
    anchor: Callable[[], float], ours: Callable[[], float], *, pairs: int, warm_up: int = 1
) -> tuple[float, float]:
    """The medians of two measurements that take turns, so that a machine's drift meets both.

    Args:
        anchor, ours: measure once and return the figure.
        pairs: how many figures of each count.
        warm_up: how many pairs before those do not.
    Returns: the anchor's median and ours.
    """
    figures: list[tuple[float, float]] = []
    for turn in range(warm_up + pairs):
        gc.collect()
        # Whoever goes second finds the caches as the other left them: that takes turns too.
        pair = (anchor(), ours()) if turn % 2 else (ours(), anchor())[::-1]
        figures.append(pair)
    counted = figures[warm_up:]
    return statistics.median(a for a, _ in counted), statistics.median(o for _, o in counted)


def worst(rows: list[Row], name: str) -> Row:
    """The row that is farthest from its goal, or nearest to failing it, under one name."""
    return replace(min(rows, key=lambda row: row.goal.room_for(row.ratio)), name=name)


def anchors_python() -> str:
    """The interpreter of the environment in which the anchors that are packages are installed."""
    if not ANCHORS_PYTHON.exists():
        raise MissingAnchorError("The anchors are not installed: make bench installs them.")
    return str(ANCHORS_PYTHON)


def tool(name: str, how_to_get_it: str) -> str:
    """The path of a program that a benchmark compares with or measures by."""
    path = shutil.which(name)
    if path is None:
        raise MissingAnchorError(f"{name} is not on this machine: {how_to_get_it}")
    return path
