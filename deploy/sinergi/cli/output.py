"""Writes events to the terminal or to a file, frame by frame as they are verified.

NDJSON and parquet hold every value exactly. A table and CSV show characters that a terminal would
obey, or that are invisible, as JSON escapes (`plain_text`).
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from enum import StrEnum
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple, Protocol

import polars as pl

from sinergi.cli import terminal
from sinergi.cli.tables import ColumnKind, TableColumn
from sinergi_schemas import errors
from sinergi_schemas.files.output_file import STANDARD_OUTPUT, OutputFile
from sinergi_schemas.plain_text import ENCODING_ERRORS, PATTERN, plain, plain_lines
from sinergi_schemas.zones import in_zone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

_COLUMNS = (
    TableColumn("recorded at"),
    TableColumn("agency", ColumnKind.HEADING),
    TableColumn("record"),
    TableColumn("rev.", ColumnKind.NUMBER),
    TableColumn("action"),
    TableColumn("part.", ColumnKind.NUMBER),
    TableColumn("leaf", ColumnKind.NUMBER),
)
_SHOWN = ("agency", "record_id", "revision", "action", "partition", "leaf_index")
# What makes a spreadsheet take a cell for a formula (OWASP, "CSV Injection"); tabs and line ends
# are escapes by then.
_FORMULA = r"^[=+@\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}-]"  # the last four are their wide forms


class Output(StrEnum):
    """How events are written."""

    TABLE = "table"
    NDJSON = "ndjson"
    CSV = "csv"
    PARQUET = "parquet"


class Destination(NamedTuple):
    """How events are written, and where to.

    Attributes:
        path: None is standard output.
        force: replace an existing file.
        for_spreadsheets: keep a text from being taken for a formula.
    """

    output: Output
    path: Path | None = None
    force: bool = False
    for_spreadsheets: bool = False


class EventWriter(Protocol):
    """Takes frames of events one after another."""

    def add(self, events: pl.DataFrame) -> None:
        """Write some events."""

    def finish(self) -> None:
        """Write what was kept back until all are known."""


class _TableWriter:
    """A table for people: the place and the action of each event; other formats have the rest.

    Times are in the event's own zone, with its offset.
    """

    def __init__(self) -> None:
        self._rows: list[list[str]] = []

    def add(self, events: pl.DataFrame) -> None:
        for when, zone, *rest in events.select("recorded_at", "zone", *_SHOWN).iter_rows():
            self._rows.append([_in_zone(when, zone), *map(str, rest)])

    def finish(self) -> None:
        terminal.show_table(_COLUMNS, self._rows)


class _NdjsonWriter:
    """One JSON object a line; decimals are strings, since most readers of JSON use floats."""

    def __init__(self, target: OutputFile) -> None:
        self._target = target

    def add(self, events: pl.DataFrame) -> None:
        self._target.write(_encoded(plain_lines(events.write_ndjson()), self._target))

    def finish(self) -> None:
        """Everything is written already."""


class _CsvWriter:
    """One header, then one line an event; a list is JSON in its cell."""

    def __init__(self, target: OutputFile, *, for_spreadsheets: bool) -> None:
        self._target = target
        self._for_spreadsheets = for_spreadsheets
        self._is_first = True

    def add(self, events: pl.DataFrame) -> None:
        flat = events.with_columns(
            self._texts(_as_json(events[name]) if isinstance(kind, pl.List) else events[name])
            for name, kind in events.schema.items()
            if isinstance(kind, pl.List | pl.String)
        )
        text = flat.write_csv(include_header=self._is_first)
        self._target.write(_encoded(text, self._target))
        self._is_first = False

    def finish(self) -> None:
        """Everything is written already."""

    def _texts(self, column: pl.Series) -> pl.Series:
        if column.str.contains(PATTERN).any():
            column = pl.Series(column.name, [each and plain(each) for each in column], pl.String)
        if self._for_spreadsheets:
            texts = pl.col(column.name)
            safe = pl.when(texts.str.contains(_FORMULA)).then("'" + texts).otherwise(texts)
            column = column.to_frame().select(safe.alias(column.name)).to_series()
        return column


class _ParquetWriter:
    """One file, written when all events are known."""

    def __init__(self, target: OutputFile) -> None:
        self._target = target
        self._frames: list[pl.DataFrame] = []

    def add(self, events: pl.DataFrame) -> None:
        self._frames.append(events)

    def finish(self) -> None:
        # Written to memory first: a closed pipe then raises our error, not one of polars.
        whole = BytesIO()
        pl.concat(self._frames).write_parquet(whole)
        self._target.write(whole.getbuffer())


@contextmanager
def open_writer(to: Destination) -> Iterator[EventWriter]:
    """A writer to a file, or to standard output; it is finished at the end of the block.

    Raises:
        ReplayRefused: the terminal is no place for this, or the options contradict each other.
        OutputExists, OutputRefused: the file cannot be written; see `output_file`.
    """
    if to.for_spreadsheets and to.output is not Output.CSV:
        raise errors.ReplayRefused("--spreadsheet-safe goes with --output csv")
    if to.output is Output.TABLE:
        if to.path is not None:
            raise errors.ReplayRefused("a table is for the screen; with --out choose --output")
        table = _TableWriter()
        yield table
        table.finish()
        return
    with OutputFile.open(to.path or STANDARD_OUTPUT, force=to.force) as target:
        if to.output is Output.PARQUET and target.is_terminal:
            raise errors.ReplayRefused("parquet is no text for a terminal; say --out FILE")
        writer = _writer(to, target)
        yield writer
        writer.finish()


def _writer(to: Destination, target: OutputFile) -> EventWriter:
    if to.output is Output.CSV:
        return _CsvWriter(target, for_spreadsheets=to.for_spreadsheets)
    kinds: dict[Output, Callable[[OutputFile], EventWriter]] = {
        Output.NDJSON: _NdjsonWriter,
        Output.PARQUET: _ParquetWriter,
    }
    return kinds[to.output](target)


def _encoded(text: str, target: OutputFile) -> bytes:
    """Text as UTF-8, or in the terminal's encoding if the output is a terminal."""
    if target.is_terminal:
        return text.encode(sys.stdout.encoding or "ascii", ENCODING_ERRORS)
    return text.encode()


def _in_zone(when: datetime, zone: str) -> str:
    """A time in an event's own zone, as the table shows it."""
    return in_zone(when, zone).isoformat(timespec="seconds")


def _as_json(column: pl.Series) -> pl.Series:
    # Only a line feed ends a line: JSON may hold other characters that `splitlines` splits at.
    lines = column.to_frame("value").write_ndjson().split("\n")[:-1]
    texts = (json.dumps(json.loads(line)["value"], ensure_ascii=False) for line in lines)
    return pl.Series(column.name, texts, pl.String)
