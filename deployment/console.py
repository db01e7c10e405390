"""Terminal output of the deployment commands."""

import sys
import time
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.console import Console as RichConsole
from rich.table import Table
from rich.text import Text

_STYLES = {"success": "green", "error": "red", "dim": "dim", "": ""}


class Console:
    """Prints whole lines, coloured on a terminal and plain in a file.

    Text from AWS is never interpreted as markup.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._rich = RichConsole(
            file=stream or sys.stdout, markup=False, highlight=False, emoji=False, soft_wrap=True
        )

    def print(self, text: str = "", style: str = "") -> None:
        """Print a line."""
        self._rich.print(Text(text, style=_STYLES[style]))

    def print_step(self, subject: str, text: str, style: str = "") -> None:
        """Print an event with its time and subject: `12:03:04  02-application-stack  …`."""
        line = Text(f"{time.strftime('%H:%M:%S')}  ", style="dim")
        line.append(f"{subject:<24} ", style="bold")
        line.append(text, style=_STYLES[style])
        self._rich.print(line)

    def print_table(self, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print rows under headings; print nothing if there are no rows."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in headings:
            table.add_column(heading, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        if table.row_count:
            self._rich.print(table, soft_wrap=False)
