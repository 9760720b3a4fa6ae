"""The sources of an event's fields: a cell, a constant, a template, or a list of these.

A mapping is compiled once into a tree of sources, which then reads every row. A source returns None
if the row has no value; the field is then left out, so that its default applies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sinergi_producers.sources.files.identity import short_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from zoneinfo import ZoneInfo

    from sinergi_producers.sources.files.dates_and_numbers import DateForm
    from sinergi_schemas.codes import Precision

DIGEST = "@digest"
LINE = "@line"
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


class RowProblem(NamedTuple):
    """One problem of a row.

    Attributes:
        field: the field of the event; "" for the row itself.
        rule: the rule that the row breaks; never a value.
        columns: the columns that the field is read from.
    """

    field: str
    rule: str
    columns: tuple[str, ...] = ()


@dataclass(slots=True)
class RowView:
    """One row, with its cells by column name, and what was found while reading it.

    Args:
        cells: the cells of the row.
        places: the index of each column.
        digest: the SHA-256 of the file.
        line: the number of the row's first line in the file.
    """

    cells: list[str]
    places: Mapping[str, int]
    digest: bytes
    line: int
    zone: ZoneInfo | None = None
    precisions: dict[str, Precision] = field(default_factory=dict)
    problems: list[RowProblem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def text(self, column: str) -> str:
        """Return the cell of a column."""
        return self.cells[self.places[column]]

    def read(self, path: str, reading: Callable[[], object]) -> object | None:
        """Return what `reading` returns. If it raises ValueError, add a problem and return None."""
        try:
            return reading()
        except ValueError as error:
            self.problems.append(RowProblem(path, str(error)))
            return None


class FieldSource(Protocol):
    """The source of one field."""

    def columns(self) -> Iterator[str]:
        """Yield the columns that it reads."""
        ...

    def read(self, row: RowView) -> object | None:
        """Return the value in this row; None if there is none, or it is refused."""
        ...


@dataclass(frozen=True, slots=True)
class ConstantSource:
    """The same value for every row."""

    value: object

    def columns(self) -> Iterator[str]:
        """Yield nothing."""
        yield from ()

    def read(self, row: RowView) -> object | None:  # noqa: ARG002 (every source is given the row)
        """Return the value."""
        return self.value


@dataclass(frozen=True, slots=True)
class TemplateSource:
    """Text with placeholders for cells, as `{Case}/{Item}`, or for `{@digest}` and `{@line}`."""

    path: str
    text: str

    def columns(self) -> Iterator[str]:
        """Yield the columns in the placeholders."""
        yield from (name for name in _PLACEHOLDER.findall(self.text) if not name.startswith("@"))

    def unknown(self) -> list[str]:
        """Return the names in unknown placeholders that begin with @."""
        return [
            name
            for name in _PLACEHOLDER.findall(self.text)
            if name.startswith("@") and name not in {DIGEST, LINE}
        ]

    def read(self, row: RowView) -> object | None:
        """Return the text with the cells in it; None if all are empty, refused if some are."""
        texts = {name: row.text(name) for name in self.columns()}
        if texts and not any(texts.values()):
            return None
        texts |= {DIGEST: short_digest(row.digest), LINE: str(row.line)}
        empty = [name for name, text in texts.items() if not text]
        if empty:
            rule = f"needs the column {', '.join(empty)}, which is empty"
            row.problems.append(RowProblem(self.path, rule))
            return None
        return _PLACEHOLDER.sub(lambda found: texts[found[1]], self.text)


@dataclass(frozen=True, slots=True)
class CellSource:
    """One cell, or several cells joined by a space, such as a date and its time.

    Args:
        path: the field of the event.
        names: the columns.
        value: converts the text to a value, or raises ValueError with the rule that it breaks.
        reads_empty: whether `value` also converts an empty cell.
    """

    path: str
    names: tuple[str, ...]
    value: Callable[[str], object]
    reads_empty: bool = False

    def columns(self) -> Iterator[str]:
        """Yield the columns."""
        yield from self.names

    def read(self, row: RowView) -> object | None:
        """Return the value of the cell; None if it is empty."""
        text = " ".join(text for name in self.names if (text := row.text(name)))
        if not text and not self.reads_empty:
            return None
        return row.read(self.path, partial(self.value, text))


@dataclass(frozen=True, slots=True)
class InstantSource:
    """A date, or a date and a time, as local time of the row's zone."""

    path: str
    names: tuple[str, ...]
    form: DateForm

    def columns(self) -> Iterator[str]:
        """Yield the columns."""
        yield from self.names

    def read(self, row: RowView) -> object | None:
        """Return the instant in UTC, and keep its precision in the row."""
        texts = [row.text(name) for name in self.names]
        if not any(texts):
            return None
        return row.read(self.path, partial(self._instant, " ".join(filter(None, texts)), row))

    def _instant(self, text: str, row: RowView) -> object:
        moment = self.form.read_moment(text, row.zone)
        row.precisions[self.path] = moment.precision
        if moment.ambiguous:
            row.warnings.append(f"{self.path}: this local time occurred twice")
        return moment.at


@dataclass(frozen=True, slots=True)
class SplitSource:
    """A list in one cell, as `X-ray; K9`."""

    path: str
    name: str
    mark: str
    value: Callable[[str], object]

    def columns(self) -> Iterator[str]:
        """Yield the column."""
        yield self.name

    def read(self, row: RowView) -> object | None:
        """Return the values of the parts; empty parts are left out."""
        parts = [part for part in map(str.strip, row.text(self.name).split(self.mark)) if part]
        values = [row.read(self.path, partial(self.value, part)) for part in parts]
        return [value for value in values if value is not None] or None


@dataclass(frozen=True, slots=True)
class RecordSource:
    """A record of named fields, such as a person; None if all of its columns are empty."""

    fields: Mapping[str, FieldSource]
    _columns: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        found = (name for source in self.fields.values() for name in source.columns())
        object.__setattr__(self, "_columns", tuple(dict.fromkeys(found)))

    def columns(self) -> Iterator[str]:
        """Yield the columns of its fields."""
        yield from self._columns

    def read(self, row: RowView) -> dict[str, object] | None:
        """Return the fields that have a value."""
        if self._columns and not any(map(row.text, self._columns)):
            return None
        values = {name: source.read(row) for name, source in self.fields.items()}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ListSource:
    """A list whose elements have columns of their own, such as the two witnesses of a seizure."""

    elements: tuple[FieldSource, ...]

    def columns(self) -> Iterator[str]:
        """Yield the columns of its elements."""
        for source in self.elements:
            yield from source.columns()

    def read(self, row: RowView) -> object | None:
        """Return the elements that the row has."""
        values = [source.read(row) for source in self.elements]
        return [value for value in values if value is not None] or None


def columns_of(record: RecordSource, path: str) -> tuple[str, ...]:
    """Return the columns of a field of an event; for a part of a list, those of the list."""
    source: FieldSource = record
    for part in path.split("."):
        if not isinstance(source, RecordSource):
            break
        found = source.fields.get(part.partition("[")[0])
        if found is None:
            return ()
        source = found
    return tuple(dict.fromkeys(source.columns()))
