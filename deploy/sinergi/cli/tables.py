"""Tables of text, laid out for a width so that no value is cut and no word or time is broken.

If the columns do not fit, the values of the column marked as HEADING become headings, with their
rows below them. If that does not fit either, one or two columns are made narrower, and a value that
is too long for its column stands on a line of its own below its row. If that leaves too little,
each row is a block of lines, one for each column, as in the expanded output of `psql`. A name can
so be copied from one line. This module only decides; `terminal` prints.
"""

from __future__ import annotations

from enum import Enum, auto
from itertools import groupby, zip_longest
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from rich.cells import cell_len

from sinergi_schemas.plain_text import encodable, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

T = TypeVar("T")

_GAP = 2
_INDENT = 2
_FEWEST_FOR_PROSE = 24
_FEWEST_FOR_LONG_VALUES = 16
_MOST_NARROWED = 2
_HEAD = "bold"


class ColumnKind(Enum):
    """How a column may be laid out."""

    TEXT = auto()  # on one line, never broken
    NUMBER = auto()  # the same, to the right
    PROSE = auto()  # broken between words where it has to be
    HEADING = auto()  # as TEXT, or as headings over the rows if the table is too wide


class TableColumn(NamedTuple):
    """A column: the name above it, and how it may be laid out."""

    name: str
    kind: ColumnKind = ColumnKind.TEXT


class TableCell(NamedTuple):
    """A text and the style in which a terminal shows it."""

    text: str
    style: str = ""


Line = list[TableCell]


def laid_out(
    columns: Sequence[TableColumn],
    rows: Iterable[Sequence[str | TableCell]],
    width: int,
    encoding: str,
) -> Iterator[Line]:
    """The lines of a table, each as pieces with their styles.

    Args:
        width: of the terminal, in cells.
        encoding: of the output; characters that it lacks become escapes.
    """
    cells = [[_fit(each, encoding) for each in row] for row in rows]
    if (widths := _widths(columns, cells, width)) is not None:
        yield from _flat(columns, cells, widths, "")
        return
    place = next((at for at, each in enumerate(columns) if each.kind is ColumnKind.HEADING), None)
    if place is None:
        widths = _narrowed(columns, cells, width)
    else:
        rest = _without(columns, place)
        inner = [_without(row, place) for row in cells]
        room = width - _INDENT
        widths = _widths(rest, inner, room) or _narrowed(rest, inner, room)
    if widths is None:
        yield from _blocks(columns, cells, width)
    elif place is None:
        yield from _flat(columns, cells, widths, "")
    else:
        for heading, group in groupby(cells, key=lambda row: row[place].text):
            yield [TableCell(heading, _HEAD)]
            inner = [_without(row, place) for row in group]
            yield from _flat(rest, inner, widths, " " * _INDENT)


def wrapped(text: str, width: int) -> list[str]:
    """A text broken between words; a word that is longer than a line stays whole.

    Its leading spaces indent each of its lines.
    """
    rest = text.lstrip(" ")
    indent = text[: len(text) - len(rest)]
    first, *words = rest.split(" ")
    lines = [indent + first]
    for word in words:
        longer = f"{lines[-1]} {word}"
        if cell_len(longer) > width:
            lines.append(indent + word)
        else:
            lines[-1] = longer
    return lines


def _fit(cell: str | TableCell, encoding: str) -> TableCell:
    text, style = cell if isinstance(cell, TableCell) else (cell, "")
    return TableCell(encodable(plain(text), encoding), style)


def _widths(
    columns: Sequence[TableColumn], rows: Sequence[Sequence[TableCell]], width: int
) -> list[int] | None:
    """How wide each column is, or None if they do not fit beside each other."""
    natural, least = _natural(columns, rows), _least(columns, rows)
    spare = width - sum(least) - _GAP * (len(columns) - 1)
    return None if spare < 0 else _widened(least, natural, spare)


def _narrowed(
    columns: Sequence[TableColumn], rows: Sequence[Sequence[TableCell]], width: int
) -> list[int] | None:
    """The same when the columns with the longest values get too little for some of them."""
    natural, least = _natural(columns, rows), _least(columns, rows)
    spare = width - sum(least) - _GAP * (len(columns) - 1)
    by_width = sorted(range(len(columns)), key=lambda at: -least[at])
    for at in by_width[:_MOST_NARROWED]:
        kept = max(cell_len(columns[at].name), _FEWEST_FOR_LONG_VALUES, least[at] + spare)
        if kept < least[at]:
            spare += least[at] - kept
            least[at] = kept
        if spare >= 0:
            return _widened(least, natural, spare)
    return None


def _natural(columns: Sequence[TableColumn], rows: Sequence[Sequence[TableCell]]) -> list[int]:
    """The widths at which no value is broken."""
    return [
        max(cell_len(column.name), *(cell_len(row[at].text) for row in rows), 0)
        for at, column in enumerate(columns)
    ]


def _least(columns: Sequence[TableColumn], rows: Sequence[Sequence[TableCell]]) -> list[int]:
    """The widths at which no word is broken."""
    least = _natural(columns, rows)
    for at, column in enumerate(columns):
        if column.kind is ColumnKind.PROSE:
            words = [word for row in rows for word in row[at].text.split(" ")]
            longest = max(map(cell_len, [*column.name.split(" "), *words]))
            least[at] = max(longest, min(least[at], _FEWEST_FOR_PROSE))
    return least


def _widened(least: list[int], natural: Sequence[int], spare: int) -> list[int]:
    """The widths when the cells that are left are given to the columns that want them."""
    wanting = sorted(range(len(least)), key=lambda at: natural[at] - least[at])
    for left, at in zip(range(len(wanting), 0, -1), wanting, strict=True):
        extra = max(0, min(natural[at] - least[at], spare // left))
        least[at] += extra
        spare -= extra
    return least


def _flat(
    columns: Sequence[TableColumn],
    rows: Sequence[Sequence[TableCell]],
    widths: Sequence[int],
    indent: str,
) -> Iterator[Line]:
    heads = [TableCell(each.name, _HEAD) for each in columns]
    # The lines below a row are indented further than the row.
    below = indent + " " * 2 * _INDENT
    room = sum(widths) + _GAP * (len(widths) - 1) - 2 * _INDENT
    for whole in (heads, *rows):
        is_short = [_fits(*each) for each in zip(columns, whole, widths, strict=True)]
        row = [
            cell if short else TableCell("") for cell, short in zip(whole, is_short, strict=True)
        ]
        pieces = [
            _broken(column, cell.text, width)
            for cell, column, width in zip(row, columns, widths, strict=True)
        ]
        for texts in zip_longest(*pieces, fillvalue=""):
            parts = zip(texts, row, columns, widths, strict=True)
            line = [
                _padded(TableCell(text, cell.style), column, width)
                for text, cell, column, width in parts
            ]
            line[-1] = line[-1]._replace(text=line[-1].text.rstrip(" "))
            yield [TableCell(indent), *_with_gaps(line)]
        for column, cell, short in zip(columns, whole, is_short, strict=True):
            for text in () if short else _broken(column, cell.text, room):
                yield [TableCell(below), TableCell(text, cell.style)]


def _broken(column: TableColumn, text: str, width: int) -> list[str]:
    """The lines of a value: only prose has more than one."""
    return wrapped(text, width) if column.kind is ColumnKind.PROSE else [text]


def _fits(column: TableColumn, cell: TableCell, width: int) -> bool:
    """Whether a value fits into its column."""
    words = cell.text.split(" ") if column.kind is ColumnKind.PROSE else [cell.text]
    return all(cell_len(each) <= width for each in words)


def _blocks(
    columns: Sequence[TableColumn], rows: Sequence[Sequence[TableCell]], width: int
) -> Iterator[Line]:
    names = max(cell_len(each.name) for each in columns)
    for number, row in enumerate(rows):
        if number:
            yield []
        for column, cell in zip(columns, row, strict=True):
            room = width - names - _GAP
            texts = _broken(column, cell.text, room)
            if any(cell_len(text) > room for text in texts):  # it stands below its name
                yield [TableCell(column.name, _HEAD)]
                for text in _broken(column, cell.text, width - _INDENT):
                    yield [TableCell(" " * _INDENT), TableCell(text, cell.style)]
                continue
            for at, text in enumerate(texts):
                name = "" if at else column.name
                head = TableCell(f"{name}{' ' * (names - cell_len(name) + _GAP)}", _HEAD)
                yield [head, TableCell(text, cell.style)]


def _padded(cell: TableCell, column: TableColumn, width: int) -> TableCell:
    fill = " " * (width - cell_len(cell.text))
    text = fill + cell.text if column.kind is ColumnKind.NUMBER else cell.text + fill
    return TableCell(text, cell.style)


def _with_gaps(line: Sequence[TableCell]) -> Iterator[TableCell]:
    for at, cell in enumerate(line):
        if at:
            yield TableCell(" " * _GAP)
        yield cell


def _without(items: Sequence[T], place: int) -> list[T]:
    return [*items[:place], *items[place + 1 :]]
