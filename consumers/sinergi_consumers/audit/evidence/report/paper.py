"""A4 pages for the report: headings, statements and tables that break well between pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fpdf import FPDF
from fpdf.enums import MethodReturnValue, XPos, YPos

from sinergi_schemas.plain_text import encodable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sinergi_consumers.audit.evidence.report.wording import Wording

FONT = "Helvetica"
INK = (27, 31, 36)

_SIZE, _TABLE_SIZE = 9, 8
_LINE, _TABLE_LINE, _ABOVE, _BESIDE = 4.5, 3.8, 0.7, 1.0
_MOST_LINES = 40
"""Of a cell: a longer one goes on in the next row, for a row is never broken between two pages."""


class PrintedTable(NamedTuple):
    """A table whose head is repeated on each page.

    Attributes:
        widths: how the columns share the width of the page.
    """

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    widths: tuple[int, ...]


class ReportPages(FPDF):
    """A4 pages with numbers."""

    def __init__(self, made_at: datetime) -> None:
        super().__init__(format="A4")
        # Most texts stand in many rows, and a row is measured before it is printed.
        self._lines_of: dict[tuple[str, float, str, float], list[str]] = {}
        self.set_creation_date(made_at)
        self.set_title("Bukti · Evidence")
        self.set_auto_page_break(auto=True, margin=18)
        self.set_font(FONT, size=_SIZE)
        self.set_text_color(*INK)
        self.add_page()

    def footer(self) -> None:
        """The number of the page, and of all pages."""
        self.set_y(-12)
        self.set_font(FONT, size=8)
        self.cell(0, 5, f"{self.page_no()} / {{nb}}", align="C")

    def heading(self, text: str, size: int = 12, room: float = 25) -> None:
        """A heading.

        Args:
            text: the heading.
            size: of its font, in points.
            room: the height in mm that must be free below it, or it begins a new page.
        """
        self.set_font(FONT, "B", size)
        if self.will_page_break(3 + self._lines(text, self.epw) * size / 2 + room):
            self.add_page()
        self.ln(3)
        self._write(text, size / 2)
        self.set_font(FONT, size=_SIZE)

    def paragraph(self, text: str) -> None:
        """A paragraph."""
        self._write(text, _LINE)
        self.ln(1)

    def statement(self, told: Wording) -> None:
        """A statement in both languages."""
        self.paragraph(told.indonesian)
        self.paragraph(told.english)

    def line_of_text(self, text: str, height: float) -> None:
        """A text in the present font, from the present column to the margin."""
        self._write(text, height)

    def titled_table(
        self, title: str, told: Sequence[str], table: PrintedTable, size: int = 12
    ) -> None:
        """A heading, paragraphs and a table.

        The first row of the table is on the page of the heading, unless it fits on none.
        """
        self.set_font(FONT, size=_SIZE)
        above = sum(self._lines(each, self.epw) * _LINE + 1 for each in told)
        self.set_font(FONT, size=_TABLE_SIZE)
        rows = [part for each in table.rows for part in self._parts(each, table)]
        begin = sum(self._height(each, table) for each in (table.head, *rows[:1]))
        self.heading(title, size, above + begin)
        for each in told:
            self.paragraph(each)
        self.set_font(FONT, size=_TABLE_SIZE)
        self._head(table)
        for cells in rows:
            if self.will_page_break(self._height(cells, table)):
                self.add_page()
                self._head(table)
            self._row(cells, table)
        self.set_font(FONT, size=_SIZE)

    def _head(self, table: PrintedTable) -> None:
        self.set_font(FONT, "B", _TABLE_SIZE)
        self._row(table.head, table)
        self.set_font(FONT, size=_TABLE_SIZE)

    def _row(self, cells: Sequence[str], table: PrintedTable) -> None:
        """A row with a line below it. `FPDF.table` measures each text anew, and takes longer."""
        top, left = self.get_y(), self.l_margin
        for at, text in enumerate(cells):
            room = self._room(table, at)
            for number, line in enumerate(self._wrapped(text, room)):
                self.set_xy(left + _BESIDE - self.c_margin, top + _ABOVE + number * _TABLE_LINE)
                self.cell(room, _TABLE_LINE, line)
            left += self._share(table, at)
        self.set_xy(self.l_margin, top + self._height(cells, table))
        self.line(self.l_margin, self.get_y(), self.l_margin + self.epw, self.get_y())

    def _write(self, text: str, height: float) -> None:
        self.multi_cell(
            0,
            height,
            encodable(text, "latin-1"),
            align="L",
            new_x=XPos.LMARGIN,
            new_y=YPos.NEXT,
        )

    def _lines(self, text: str, width: float) -> int:
        return len(self._wrapped(text, width))

    def _wrapped(self, text: str, width: float) -> list[str]:
        """The lines of a text in the present font."""
        shown = encodable(text, "latin-1")
        known = (shown, width, self.font_style, self.font_size)
        if known not in self._lines_of:
            self._lines_of[known] = self.multi_cell(  # type: ignore[assignment]  # of the output asked for
                width,
                text=shown,
                align="L",
                dry_run=True,
                output=MethodReturnValue.LINES,
            )
        return self._lines_of[known]

    def _room(self, table: PrintedTable, column: int) -> float:
        """The width of a column's text. `multi_cell` takes margins of a cell from it again."""
        return self._share(table, column) - 2 * _BESIDE + 2 * self.c_margin

    def _share(self, table: PrintedTable, column: int) -> float:
        """The width of a column."""
        return self.epw * table.widths[column] / sum(table.widths)

    def _height(self, cells: Sequence[str], table: PrintedTable) -> float:
        lines = max(self._lines(text, self._room(table, at)) for at, text in enumerate(cells))
        return lines * _TABLE_LINE + 2 * _ABOVE

    def _parts(self, cells: tuple[str, ...], table: PrintedTable) -> Iterator[tuple[str, ...]]:
        """A row, and those in which it goes on."""
        if max(map(len, cells)) <= _MOST_LINES:  # no line has less than one character
            yield cells
            return
        wrapped = [self._wrapped(text, self._room(table, at)) for at, text in enumerate(cells)]
        longest = max(map(len, wrapped))
        if longest <= _MOST_LINES:
            yield cells
            return
        for begin in range(0, longest, _MOST_LINES):
            yield tuple("\n".join(each[begin : begin + _MOST_LINES]) for each in wrapped)
