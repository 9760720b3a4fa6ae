"""Events on their way out: to the terminal or to a file, frame by frame as they are verified."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Protocol

import polars as pl
from rich.console import Console
from rich.table import Table

from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SHOWN = ("recorded_at", "record_id", "revision", "action", "topic", "partition", "leaf_index")


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
    """A table for people: where each event lies and what it does; the rest is for programs."""

    def __init__(self) -> None:
        self._table = Table(*_SHOWN)

    def add(self, events: pl.DataFrame) -> None:
        for when, *rest in events.select(_SHOWN).iter_rows():
            self._table.add_row(when.isoformat(timespec="seconds"), *map(str, rest))

    def finish(self) -> None:
        Console().print(self._table)


class _NdjsonWriter:
    """One JSON object a line; decimals are strings, since a JSON number is none."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target

    def add(self, events: pl.DataFrame) -> None:
        self._target.write(events.write_ndjson().encode())

    def finish(self) -> None:
        _done(self._target)


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
        _done(self._target)


class _ParquetWriter:
    """One file, written when all events are known."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._frames: list[pl.DataFrame] = []

    def add(self, events: pl.DataFrame) -> None:
        self._frames.append(events)

    def finish(self) -> None:
        pl.concat(self._frames).write_parquet(self._target)
        _done(self._target)


def open_writer(output: Output, path: Path | None) -> Writer:
    """A writer to a file, or to standard output.

    Raises:
        OutputRefused: the file cannot be written, or the terminal is no place for this.
    """
    if output is Output.TABLE:
        if path is not None:
            raise errors.OutputRefused(
                str(path), "a table is for the screen; choose another output"
            )
        return _TableWriter()
    if output is Output.PARQUET and path is None and sys.stdout.isatty():
        raise errors.OutputRefused("the terminal", "parquet is no text; say --out FILE")
    try:
        target = sys.stdout.buffer if path is None else path.open("wb")
    except OSError as why:
        raise errors.OutputRefused(str(path), why.strerror or type(why).__name__) from None
    kinds: dict[Output, Callable[[IO[bytes]], Writer]] = {
        Output.NDJSON: _NdjsonWriter,
        Output.CSV: _CsvWriter,
        Output.PARQUET: _ParquetWriter,
    }
    return kinds[output](target)


def _done(target: IO[bytes]) -> None:
    target.flush()
    if target is not sys.stdout.buffer:
        target.close()


def _as_json(column: pl.Series) -> list[str]:
    lines = column.to_frame("value").write_ndjson().splitlines()
    return [json.dumps(json.loads(line)["value"], ensure_ascii=False) for line in lines]
