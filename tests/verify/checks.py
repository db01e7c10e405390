"""Checks that compare what a service does with an assumption, and the table of their results."""

from collections.abc import Callable
from dataclasses import dataclass

from deployment.console import Console

AS_ASSUMED, DIFFERENT = "as assumed", "DIFFERENT"
Row = tuple[str, str, str]


class DifferentError(Exception):
    """The service did not behave as assumed. The message says what was seen."""


@dataclass(frozen=True)
class Check:
    """An assumption and what checks it.

    Attributes:
        assumed: the assumption, as a sentence.
        see: sends the requests and returns what was seen, or raises `DifferentError`.
    """

    assumed: str
    see: Callable[[], str]


def print_results(rows: list[Row], console: Console) -> None:
    """Print the table: whether it is as assumed, the assumption, and what was seen."""
    console.print_table(("", "assumed", "seen"), rows)
