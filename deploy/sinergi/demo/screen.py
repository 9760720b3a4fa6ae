"""The output of the demo: on standard output, or on standard error beside a JSON document."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_WIDTH = 100
_MARGIN = 2


class Screen:
    """A page of at most 100 columns, printed from top to bottom.

    Args:
        beside_data: print on standard error, because standard output carries data.
    """

    def __init__(self, *, beside_data: bool) -> None:
        self.progress = Console(stderr=True)
        output = Console(stderr=beside_data)
        self._console = Console(
            stderr=beside_data,
            highlight=False,
            width=min(_WIDTH, output.width) if output.is_terminal else _WIDTH,
        )
        self._apart = False

    def chapter(self, title: str, about: str) -> None:
        """Begin a chapter with its title and its subject."""
        self._apart = True
        self._print(Rule(Text(title, "bold"), align="left", style="dim"), 0, expand=True)
        self._print(Text(about, "italic"))

    def say(self, text: str) -> None:
        """Print a line; rich's markup applies."""
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_row(Text("·", "cyan"), Text.from_markup(text))
        self._print(line)

    def quote(self, text: str) -> None:
        """Print a message of the product."""
        self._print(Text(text, "yellow"), _MARGIN + 2)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print rows; numbers are aligned right."""
        cells = [[cell if isinstance(cell, Text) else _cell(cell) for cell in row] for row in rows]
        table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
        for place, name in enumerate(columns):
            numbers = bool(cells) and not any(
                row[place].plain.strip("0123456789.") for row in cells
            )
            table.add_column(name, justify="right" if numbers else "left")
        for row in cells:
            table.add_row(*row)
        self._apart = True
        self._print(table, _MARGIN + 2)
        self._apart = True

    def verdict(self, text: str, *, good: bool) -> None:
        """Print the result."""
        self._print(Text(("✓ " if good else "✗ ") + text, "bold green" if good else "bold red"))

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Show a spinner on standard error while the block runs; print nothing else meanwhile."""
        if not self.progress.is_terminal:
            yield
            return
        with self.progress.status(Text(what, "dim")):
            yield

    def _print(
        self, what: Text | Table | Rule, margin: int = _MARGIN, *, expand: bool = False
    ) -> None:
        if self._apart:
            self._console.print()
            self._apart = False
        self._console.print(Padding(what, (0, 0, 0, margin), expand=expand))


def _cell(value: object) -> Text:
    return Text("–" if value is None else str(value))
