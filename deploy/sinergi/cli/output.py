"""Writes events to the terminal or to a file, frame by frame as they are verified.

NDJSON and Parquet hold every value exactly. A table and CSV show characters that a terminal would
obey, or that are invisible, as JSON escapes (`plain_text`).
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from sinergi.cli import terminal, written_files
from sinergi.cli.destination import Destination, Output
from sinergi.cli.parquet_output import ParquetWriter
from sinergi.cli.tables import ColumnKind, TableColumn
from sinergi_schemas import errors
from sinergi_schemas.files.output_file import OWNER_FOLDER, STANDARD_OUTPUT, OutputFile
from sinergi_schemas.files.output_folder import folder_for
from sinergi_schemas.plain_text import ENCODING_ERRORS, PATTERN, counted, plain, plain_lines
from sinergi_schemas.zones import in_zone

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from sinergi_schemas.topics import Topic

_COLUMNS = (
    TableColumn("recorded at"),
    TableColumn("agency", ColumnKind.HEADING),
    TableColumn("type", ColumnKind.HEADING),
    TableColumn("record"),
    TableColumn("rev.", ColumnKind.NUMBER),
    TableColumn("action"),
    TableColumn("part.", ColumnKind.NUMBER),
    TableColumn("leaf", ColumnKind.NUMBER),
)
_SHOWN = ("record_id", "revision", "action", "partition", "leaf_index")
# What makes a spreadsheet take a cell for a formula (OWASP, "CSV Injection"); tabs and line ends
# are escapes by then.
_FORMULA = r"^[=+@\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}-]"  # the last four are their wide forms


class FrameWriter(Protocol):
    """Takes frames with the same columns one after another."""

    def write(self, frame: pl.DataFrame) -> None:
        """Write some rows."""

    def finish(self, facts: Mapping[str, Any]) -> None:
        """As of `EventWriter`."""

    def abandon(self) -> None:
        """As of `EventWriter`."""


class EventWriter(Protocol):
    """Takes frames of events one after another."""

    def add(self, topic: Topic, events: pl.DataFrame) -> None:
        """Write some events of a topic."""

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Write what was kept back until all are known. Files then lack only their names.

        Args:
            facts: what was found out about the events, as a JSON document.
        """

    def abandon(self) -> None:
        """Let go of what was kept back, if `finish` was not called."""


class _TableWriter:
    """A table for people: the place and the action of each event; other formats have the rest.

    Times are in the event's own zone, with its offset.
    """

    def __init__(self) -> None:
        self._rows: list[list[str]] = []

    def add(self, topic: Topic, events: pl.DataFrame) -> None:
        for when, zone, *rest in events.select("recorded_at", "zone", *_SHOWN).iter_rows():
            place = (topic.agency, topic.event_type)
            self._rows.append([_in_zone(when, zone), *place, *map(str, rest)])

    def finish(self, facts: Mapping[str, Any]) -> None:
        del facts
        if self._rows:
            terminal.show_table(_COLUMNS, self._rows)

    def abandon(self) -> None:
        self._rows.clear()


class _TextWriter:
    """Writes each frame when it comes, and nothing at the end."""

    def __init__(self, target: OutputFile) -> None:
        self._target = target

    def add(self, topic: Topic, events: pl.DataFrame) -> None:
        del topic
        self.write(events)

    def write(self, frame: pl.DataFrame) -> None:
        raise NotImplementedError

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Everything is written already."""
        del facts
        self._target.settle()

    def abandon(self) -> None:
        """Nothing is kept back."""


class _NdjsonWriter(_TextWriter):
    """One JSON object a line; decimals are strings, since most readers of JSON use floats."""

    def write(self, frame: pl.DataFrame) -> None:
        self._target.write(_encoded(plain_lines(frame.write_ndjson()), self._target))


class _CsvWriter(_TextWriter):
    """One header, then one line an event; a list is JSON in its cell, behind all other columns.

    Times are in the event's own zone, with its offset.
    """

    def __init__(self, target: OutputFile, *, for_spreadsheets: bool) -> None:
        super().__init__(target)
        self._for_spreadsheets = for_spreadsheets
        self._is_first = True

    def write(self, frame: pl.DataFrame) -> None:
        octets = pl.selectors.binary().bin.encode("hex").str.replace("^", "\\x")
        lists = pl.selectors.by_dtype(pl.List)
        frame = _with_offsets(frame.with_columns(octets)).select(~lists, lists)
        flat = frame.with_columns(
            self._texts(_as_json(frame[name]) if isinstance(kind, pl.List) else frame[name])
            for name, kind in frame.schema.items()
            if isinstance(kind, pl.List | pl.String)
        )
        text = flat.write_csv(include_header=self._is_first)
        self._target.write(_encoded(text, self._target))
        self._is_first = False

    def _texts(self, column: pl.Series) -> pl.Series:
        if column.str.contains(PATTERN).any():
            column = pl.Series(column.name, [each and plain(each) for each in column], pl.String)
        if self._for_spreadsheets:
            texts = pl.col(column.name)
            safe = pl.when(texts.str.contains(_FORMULA)).then("'" + texts).otherwise(texts)
            column = column.to_frame().select(safe.alias(column.name)).to_series()
        return column


class _CountingWriter:
    """Counts the events of each type that another writer takes."""

    def __init__(self, writer: EventWriter) -> None:
        self._writer = writer
        self.counts: Counter[str] = Counter()

    def add(self, topic: Topic, events: pl.DataFrame) -> None:
        self.counts[topic.event_type] += events.height
        self._writer.add(topic, events)

    def finish(self, facts: Mapping[str, Any]) -> None:
        self._writer.finish(facts)

    def abandon(self) -> None:
        self._writer.abandon()


class _FolderWriter:
    """A file for each event type, since events of several types have no common columns.

    A type without an event gets no file: it would hold the names of columns alone.

    Args:
        open_file: opens the file of an event type.
    """

    def __init__(self, open_file: Callable[[str], EventWriter]) -> None:
        self._open_file = open_file
        self._writers: dict[str, EventWriter] = {}

    def add(self, topic: Topic, events: pl.DataFrame) -> None:
        if events.is_empty():
            return
        if topic.event_type not in self._writers:
            self._writers[topic.event_type] = self._open_file(topic.event_type)
        self._writers[topic.event_type].add(topic, events)

    def finish(self, facts: Mapping[str, Any]) -> None:
        for each in self._writers.values():
            each.finish(facts)

    def abandon(self) -> None:
        for each in self._writers.values():
            each.abandon()


@contextmanager
def open_writer(to: Destination, event_types: Collection[str]) -> Iterator[EventWriter]:
    """A writer to a file, to a folder or to standard output.

    Each file gets its name at the end of the block. Call `finish` before, and then say what was
    found out about the events: no file has its name without a verdict.

    Args:
        event_types: of the events. CSV and Parquet of several go to a folder.

    Raises:
        ReplayRefused: the terminal is no place for this, or the options contradict each other.
        OutputExists, OutputRefused: the file cannot be written; see `output_file`.
    """
    if to.for_spreadsheets and to.output is not Output.CSV:
        raise errors.ReplayRefused("--spreadsheet-safe goes with --output csv")
    files: dict[str, Path] = {}
    with ExitStack() as stack:
        if to.path is not None:
            _check_format(to.path, to.output)
        if to.output is Output.TABLE:
            writer: EventWriter = _TableWriter()
        elif to.is_folder or (to.output is not Output.NDJSON and len(event_types) > 1):
            stack.enter_context(_folder(to))
            files = {each: to.file(each) for each in sorted(event_types)}
            for each in files.values():
                OutputFile.check(each, force=to.force)
            writer = _FolderWriter(lambda each: _writer(to, files[each], stack))
        else:
            writer = _writer(to, to.path or STANDARD_OUTPUT, stack)
        counting = _CountingWriter(writer)
        stack.callback(writer.abandon)
        yield counting
    if to.path is not None and not files:
        written_files.note(to.path, counted(counting.counts.total(), "event"))
    for name, path in files.items():
        if counting.counts[name]:
            written_files.note(path, counted(counting.counts[name], "event"))
        else:
            terminal.note(f"sinergi: no event of the type {name}, and so no file of it")


def _check_format(path: Path, output: Output) -> None:
    """Refuse a table in a file, and a file that is named as another format.

    Raises:
        ReplayRefused: it is one of these.
    """
    named = path.suffix.lower().removeprefix(".")
    formats = [each.value for each in Output if each is not Output.TABLE]
    if named in formats and named != output:
        what = f"{path} is named as {named}, and --output is {output}"
        raise errors.ReplayRefused(f"{what}; say --output {named}, or name another file")
    if output is Output.TABLE:
        which = " or ".join(formats)
        raise errors.ReplayRefused(f"a table is for the screen; with --out say --output {which}")


@contextmanager
def open_table_writers(to: Destination, names: Collection[str]) -> Iterator[dict[str, FrameWriter]]:
    """A writer for each table, to a file in a folder.

    Each file gets its name at the end of the block, as of `open_writer`.

    Args:
        names: of the tables.

    Raises:
        ReplayRefused, OutputExists, OutputRefused: as `open_writer`.
    """
    with ExitStack() as stack:
        stack.enter_context(_folder(to))
        found: dict[str, FrameWriter] = {}
        for each in names:
            found[each] = _writer(to, to.file(each), stack)
            stack.callback(found[each].abandon)
        yield found


def _writer(
    to: Destination, path: Path, stack: ExitStack
) -> _NdjsonWriter | _CsvWriter | ParquetWriter:
    target = stack.enter_context(OutputFile.open(path, force=to.force))
    if to.output is Output.CSV:
        return _CsvWriter(target, for_spreadsheets=to.for_spreadsheets)
    if to.output is Output.NDJSON:
        return _NdjsonWriter(target)
    if target.is_terminal:
        raise errors.ReplayRefused("parquet is no text for a terminal; say --out FILE")
    return ParquetWriter(target)


def _folder(to: Destination) -> AbstractContextManager[None]:
    """Makes the folder for a file of each event type, and removes it if the block raises.

    Raises:
        ReplayRefused: none is named.
        OutputRefused: it cannot be made.
    """
    what = "events of several types have no common columns"
    if to.path is None or to.path == STANDARD_OUTPUT:
        raise errors.ReplayRefused(f"{what}; say --out FOLDER for a file of each, or use ndjson")
    if to.path.suffix == f".{to.output}" and not (to.is_folder or to.path.is_dir()):
        hint = f"--out {to.path.with_suffix('')} for a folder with a file of each, or --type"
        raise errors.ReplayRefused(f"{what}, and {to.path} is named as one file; say {hint}")
    return folder_for(to.path, OWNER_FOLDER)


def _with_offsets(frame: pl.DataFrame) -> pl.DataFrame:
    """A frame whose times are texts with the offset of the event's zone, or of UTC without one."""
    zones = frame["zone"] if "zone" in frame.columns else [None] * frame.height
    times = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    return frame.with_columns(_moments(frame[name], zones) for name in times)


def _moments(column: pl.Series, zones: Iterable[object]) -> pl.Series:
    try:
        pairs = zip(column, zones, strict=True)
        texts = [when and in_zone(when, zone).isoformat() for when, zone in pairs]
    except (OverflowError, ValueError):  # a time that Python's calendar does not have
        return column.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00")
    return pl.Series(column.name, texts, pl.String)


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
