"""What the person who deploys reads."""

import sys
import time
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.console import Console as RichConsole
from rich.table import Table
from rich.text import Text

_STYLES = {"good": "green", "bad": "red", "dim": "dim", "": ""}


class Console:
    """Whole lines, coloured on a terminal and plain in a file. AWS's text is never markup."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._rich = RichConsole(
            file=stream or sys.stdout, markup=False, highlight=False, emoji=False, soft_wrap=True
        )

    def say(self, text: str = "", tone: str = "") -> None:
        """Print a sentence."""
        self._rich.print(Text(text, style=_STYLES[tone]))

    def step(self, subject: str, text: str, tone: str = "") -> None:
        """Print what happened, when and to what: `12:03:04  02-application-stack  …`."""
        line = Text(f"{time.strftime('%H:%M:%S')}  ", style="dim")
        line.append(f"{subject:<24} ", style="bold")
        line.append(text, style=_STYLES[tone])
        self._rich.print(line)

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print rows under headings, and nothing when there are none."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in headings:
            table.add_column(heading, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        if table.row_count:
            self._rich.print(table, soft_wrap=False)
