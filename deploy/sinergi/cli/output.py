"""Events on their way out: to the terminal or to a file, frame by frame as they are verified."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from enum import StrEnum
from errno import EISDIR
from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_COLUMNS = ("recorded at", "agency", "record", "rev.", "action", "part.", "leaf")
_SHOWN = ("agency", "record_id", "revision", "action", "partition", "leaf_index")
_UNFOLDED = 10_000
_OWNERS = 0o600  # events hold personal data


class Output(StrEnum):
    """How events are written."""

    TABLE = "table"
    NDJSON = "ndjson"
    CSV = "csv"
    PARQUET = "parquet"


class Writer(Protocol):
    """Takes frames of events one after another."""

    def add(self, events: pl.DataFrame) -> None:
        """Write some events."""

    def finish(self) -> None:
        """Write what was kept back until all are known."""


class _TableWriter:
    """A table for people: where each event lies and what it does; the rest is for programs.

    A moment stands on the clocks of the event's own zone, with its offset.
    """

    def __init__(self) -> None:
        self._table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
        for name in _COLUMNS:
            self._table.add_column(name, overflow="fold")

    def add(self, events: pl.DataFrame) -> None:
        for when, zone, *rest in events.select("recorded_at", "zone", *_SHOWN).iter_rows():
            local = when.astimezone(ZoneInfo(zone)).isoformat(timespec="seconds")
            self._table.add_row(local, *map(Text, map(str, rest)))

    def finish(self) -> None:
        # A terminal folds the cells; a file or a pipe gets one line a row, for grep.
        Console(width=None if sys.stdout.isatty() else _UNFOLDED).print(self._table)


class _NdjsonWriter:
    """One JSON object a line; decimals are strings, since a JSON number is none."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target

    def add(self, events: pl.DataFrame) -> None:
        self._target.write(events.write_ndjson().encode())

    def finish(self) -> None:
        self._target.flush()


class _CsvWriter:
    """One line an event, under one header; a list stands in its cell as JSON."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._is_first = True

    def add(self, events: pl.DataFrame) -> None:
        flat = events.with_columns(
            pl.Series(name, _as_json(events[name]), pl.String)
            for name, kind in events.schema.items()
            if isinstance(kind, pl.List)
        )
        self._target.write(flat.write_csv(include_header=self._is_first).encode())
        self._is_first = False

    def finish(self) -> None:
        self._target.flush()


class _ParquetWriter:
    """One file, written when all events are known."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._frames: list[pl.DataFrame] = []

    def add(self, events: pl.DataFrame) -> None:
        self._frames.append(events)

    def finish(self) -> None:
        # By way of memory: a pipe that its reader has closed is then an error of ours, not polars'.
        whole = BytesIO()
        pl.concat(self._frames).write_parquet(whole)
        self._target.write(whole.getbuffer())
        self._target.flush()


@contextmanager
def open_writer(output: Output, path: Path | None) -> Iterator[Writer]:
    """A writer to a file, or to standard output; it is finished at the end of the block.

    A file takes its name only then: what was there before stays until all that replaces it is
    written, and nothing unfinished ever bears the name.

    Raises:
        ReplayRefused: the file cannot be written, or the terminal is no place for this.
    """
    if output is Output.TABLE:
        if path is not None:
            raise errors.ReplayRefused("a table is for the screen; with --out choose --output")
        writer: Writer = _TableWriter()
        yield writer
        writer.finish()
        return
    if output is Output.PARQUET and path is None and sys.stdout.isatty():
        raise errors.ReplayRefused("parquet is no text for a terminal; say --out FILE")
    kinds: dict[Output, Callable[[IO[bytes]], Writer]] = {
        Output.NDJSON: _NdjsonWriter,
        Output.CSV: _CsvWriter,
        Output.PARQUET: _ParquetWriter,
    }
    with _target(path) as target:
        writer = kinds[output](target)
        yield writer
        writer.finish()


@contextmanager
def _target(path: Path | None) -> Iterator[IO[bytes]]:
    if path is None:
        yield sys.stdout.buffer
        return
    try:
        if path.is_dir():
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
        with NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.", delete=False) as file:
            unfinished = Path(file.name)
            try:
                yield file
                unfinished.chmod(_OWNERS)
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)
    except OSError as why:
        what = f"{path} cannot be written ({why.strerror}); name another file with --out"
        raise errors.ReplayRefused(what) from None


def _as_json(column: pl.Series) -> list[str]:
    lines = column.to_frame("value").write_ndjson().splitlines()
    return [json.dumps(json.loads(line)["value"], ensure_ascii=False) for line in lines]
