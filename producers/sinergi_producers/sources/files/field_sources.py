"""Where the fields of an event come from: a cell, a constant, a template, a list of these.

A mapping is compiled into a tree of sources once, and each row is read through it. A source gives
None where the row says nothing, and the field is then left out, so that its default holds.
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
_SLOT = re.compile(r"\{([^{}]+)\}")


class Breach(NamedTuple):
    """What is wrong with a row: the field (or "" for the row itself), the rule, its columns."""

    field: str
    rule: str
    columns: tuple[str, ...] = ()


@dataclass(slots=True)
class RowView:
    """One row under the names of its columns, and what was noticed while reading it.

    Args:
        cells: the row's cells.
        places: index of each column.
        digest: SHA-256 of the file.
        line: the row's line in it.
    """

    cells: list[str]
    places: Mapping[str, int]
    digest: bytes
    line: int
    zone: ZoneInfo | None = None
    precisions: dict[str, Precision] = field(default_factory=dict)
    breaches: list[Breach] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def text(self, column: str) -> str:
        """The cell of a column."""
        return self.cells[self.places[column]]

    def read(self, path: str, reading: Callable[[], object]) -> object | None:
        """What `reading` gives, or None with a problem of the field `path`."""
        try:
            return reading()
        except ValueError as error:
            self.breaches.append(Breach(path, str(error)))
            return None


class FieldSource(Protocol):
    """What gives a field its value."""

    def columns(self) -> Iterator[str]:
        """The columns that it reads."""
        ...

    def read(self, row: RowView) -> object | None:
        """The value in this row; None where the row says nothing or what it says is refused."""
        ...


@dataclass(frozen=True, slots=True)
class ConstantSource:
    """The same value for every row."""

    value: object

    def columns(self) -> Iterator[str]:
        """None."""
        yield from ()

    def read(self, row: RowView) -> object | None:  # noqa: ARG002 (every source is given the row)
        """The value."""
        return self.value


@dataclass(frozen=True, slots=True)
class TemplateSource:
    """Text with slots for cells, as `{Case}/{Item}`, and for `{@digest}` and `{@line}`."""

    path: str
    text: str

    def columns(self) -> Iterator[str]:
        """Those in the slots."""
        yield from (name for name in _SLOT.findall(self.text) if not name.startswith("@"))

    def unknown(self) -> list[str]:
        """Slots with an @ that stand for nothing."""
        return [
            name
            for name in _SLOT.findall(self.text)
            if name.startswith("@") and name not in {DIGEST, LINE}
        ]

    def read(self, row: RowView) -> object | None:
        """The text with its slots filled; None if all of its cells are empty, refused if some."""
        texts = {name: row.text(name) for name in self.columns()}
        if texts and not any(texts.values()):
            return None
        texts |= {DIGEST: short_digest(row.digest), LINE: str(row.line)}
        empty = [name for name, text in texts.items() if not text]
        if empty:
            row.breaches.append(Breach(self.path, f"needs the empty column {', '.join(empty)}"))
            return None
        return _SLOT.sub(lambda slot: texts[slot[1]], self.text)


@dataclass(frozen=True, slots=True)
class CellSource:
    """One cell, or several joined by a space as a date and its time, given through a reading.

    Args:
        path: the field that it fills.
        names: the columns.
        value: turns the text into a value, or raises ValueError with the rule it breaks.
        reads_empty: whether an empty cell is given to `value` too.
    """

    path: str
    names: tuple[str, ...]
    value: Callable[[str], object]
    reads_empty: bool = False

    def columns(self) -> Iterator[str]:
        """The columns."""
        yield from self.names

    def read(self, row: RowView) -> object | None:
        """The value of the cell; None if it is empty."""
        text = " ".join(text for name in self.names if (text := row.text(name)))
        if not text and not self.reads_empty:
            return None
        return row.read(self.path, partial(self.value, text))


@dataclass(frozen=True, slots=True)
class InstantSource:
    """A date, or a date and a time, on the clocks of the row's zone."""

    path: str
    names: tuple[str, ...]
    form: DateForm

    def columns(self) -> Iterator[str]:
        """The columns."""
        yield from self.names

    def read(self, row: RowView) -> object | None:
        """The instant in UTC; its precision is noted beside it."""
        texts = [row.text(name) for name in self.names]
        if not any(texts):
            return None
        return row.read(self.path, partial(self._noted, " ".join(filter(None, texts)), row))

    def _noted(self, text: str, row: RowView) -> object:
        moment = self.form.read_moment(text, row.zone)
        row.precisions[self.path] = moment.precision
        if moment.ambiguous:
            row.warnings.append(f"{self.path}: the clocks showed this time twice")
        return moment.at


@dataclass(frozen=True, slots=True)
class SplitSource:
    """A list written in one cell, as `X-ray; K9`."""

    path: str
    name: str
    mark: str
    value: Callable[[str], object]

    def columns(self) -> Iterator[str]:
        """The column."""
        yield self.name

    def read(self, row: RowView) -> object | None:
        """The parts' values; empty parts are left out."""
        parts = [part for part in map(str.strip, row.text(self.name).split(self.mark)) if part]
        values = [row.read(self.path, partial(self.value, part)) for part in parts]
        return [value for value in values if value is not None] or None


@dataclass(frozen=True, slots=True)
class RecordSource:
    """Named fields together, as a person; None where none of its columns says anything."""

    fields: Mapping[str, FieldSource]
    _columns: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        found = (name for source in self.fields.values() for name in source.columns())
        object.__setattr__(self, "_columns", tuple(dict.fromkeys(found)))

    def columns(self) -> Iterator[str]:
        """Those of its fields."""
        yield from self._columns

    def read(self, row: RowView) -> dict[str, object] | None:
        """The fields that have a value."""
        if self._columns and not any(map(row.text, self._columns)):
            return None
        values = {name: source.read(row) for name, source in self.fields.items()}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ListSource:
    """A list out of columns side by side, as the two witnesses of a seizure."""

    elements: tuple[FieldSource, ...]

    def columns(self) -> Iterator[str]:
        """Those of its elements."""
        for source in self.elements:
            yield from source.columns()

    def read(self, row: RowView) -> object | None:
        """The elements that the row has."""
        values = [source.read(row) for source in self.elements]
        return [value for value in values if value is not None] or None


def columns_of(record: RecordSource, path: str) -> tuple[str, ...]:
    """The columns that a field of an event is read from; of a part of a list, those of the list."""
    source: FieldSource = record
    for part in path.split("."):
        if not isinstance(source, RecordSource):
            break
        found = source.fields.get(part.partition("[")[0])
        if found is None:
            return ()
        source = found
    return tuple(dict.fromkeys(source.columns()))
