"""Rows that differ from the events, as a table for people, and as documents for programs.

Values of fields that are personal data are shown only if that is asked for. A digest in place of
one would be no protection: there are few enough NIKs and names to try them all.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from sinergi.cli import terminal, written_files
from sinergi.cli.tables import ColumnKind, TableCell, TableColumn
from sinergi_consumers.projections.protected_columns import shown_columns
from sinergi_consumers.sinks.postgresql.row_comparison import QuarantineHold, RowDifferenceKind
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import psycopg

    from sinergi_consumers.audit.projection_check import ProjectionResult
    from sinergi_consumers.sinks.postgresql.row_comparison import RowDifference
    from sinergi_schemas.catalog import Catalog
    from sinergi_schemas.files.output_file import OutputFile

BOTH = "--json and --out would both go to standard output"
_PROTECTED = "(protected)"
_NULL = "null"
_COLUMNS = (
    TableColumn("table", ColumnKind.HEADING),
    TableColumn("leaf"),
    TableColumn("row", ColumnKind.PROSE),
    TableColumn("column"),
    TableColumn("expected", ColumnKind.PROSE),
    TableColumn("found", ColumnKind.PROSE),
)


ShowValues = Annotated[
    bool,
    typer.Option("--show-values", help="Values of protected fields too: they are personal data."),
]
DifferencesFile = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write all differing rows there, as NDJSON."),
]


class ValueDisplay(NamedTuple):
    """Which values are shown.

    Attributes:
        shown: the columns of each table whose values are; None for all.
    """

    shown: Mapping[str, frozenset[str]] | None

    @staticmethod
    def of(
        results: Iterable[ProjectionResult], catalog: Catalog, *, with_protected: bool
    ) -> ValueDisplay:
        """Those of the tables of some projections."""
        if with_protected:
            return ValueDisplay(None)
        found: dict[str, frozenset[str]] = {}
        for each in results:
            for name, columns in shown_columns(each.projection, catalog).items():
                found[f"sinergi.{name}"] = columns
        return ValueDisplay(found)

    def is_shown(self, difference: RowDifference, column: str) -> bool:
        """Whether the values of a column are shown."""
        return self.shown is None or column in self.shown.get(difference.table, ())


def count(results: Iterable[ProjectionResult]) -> int:
    """How many rows differ."""
    return sum(each.rows for result in results for table in result.tables for each in table.counts)


def summaries(results: Iterable[ProjectionResult]) -> list[dict[str, Any]]:
    """How many rows of each table are expected, and how many differ, for programs."""
    return [
        {
            "table": table.comparison.name,
            "projection": result.projection.name,
            "expected_rows": table.rows - table.removed,
            "removed_rows": table.removed,
            "differing": [
                {"kind": each.kind, "quarantine": each.hold or None, "rows": each.rows}
                for each in table.counts
            ],
            "columns": dict(table.columns),
        }
        for result in results
        for table in result.tables
    ]


def differences(
    connection: psycopg.Connection, results: Iterable[ProjectionResult], most: int | None = None
) -> Iterator[RowDifference]:
    """The differences of all tables; at most so many."""
    left = most
    for result in results:
        for table in result.tables:
            for each in table.comparison.rows(connection, left):
                yield each
                left = None if left is None else left - 1
            if left == 0:
                return


def document(difference: RowDifference, display: ValueDisplay) -> dict[str, Any]:
    """One difference for programs. A value that is not shown is left out."""

    def values(side: tuple[str | None, ...] | None) -> dict[str, str | None] | None:
        if side is None:
            return None
        pairs = zip(difference.columns, side, strict=True)
        return {name: each for name, each in pairs if display.is_shown(difference, name)}

    return {
        "table": difference.table,
        "kind": difference.kind,
        "quarantine": difference.hold or None,
        "topic": difference.topic,
        "partition": difference.partition,
        "leaf": difference.leaf_index,
        "key": dict(difference.key),
        "columns": [column for column, _, _ in difference.changes],
        "expected": values(difference.expected),
        "found": values(difference.found),
    }


def write(target: OutputFile, found: Iterable[RowDifference], display: ValueDisplay) -> None:
    """Write one JSON object a line. A file then lacks only its name."""
    for each in found:
        target.write(f"{json.dumps(document(each, display))}\n".encode())
    target.settle()


def note_written(path: Path | None, results: Iterable[ProjectionResult]) -> None:
    """Say what was written to a file of differences, if there is one; call it once it is closed."""
    if path is not None:
        written_files.note(path, counted(count(results), "differing row"))


def show(found: Iterable[RowDifference], display: ValueDisplay, count: int, most: int) -> None:
    """Show a table of the first differences, with a line for each column that differs.

    Args:
        count: how many differences there are in all.
        most: how many of them are shown.
    """
    rows = [line for each in found for line in _lines(each, display)]
    if rows:
        terminal.show_line("")
        terminal.show_table(_COLUMNS, rows)
    if count > most:
        terminal.note(f"sinergi: {count:,} rows differ, {most:,} are shown; --out FILE has all")


def _lines(difference: RowDifference, display: ValueDisplay) -> Iterator[list[str | TableCell]]:
    table = f"{difference.table}, of {difference.topic}"
    numbers = (difference.partition, difference.leaf_index)
    leaf = "/".join("?" if each is None else str(each) for each in numbers)
    place: list[str | TableCell] = [table, leaf, _key(difference)]
    match difference.kind:
        case RowDifferenceKind.MISSING:
            yield [*place, "", "a row", _absent(difference)]
        case RowDifferenceKind.EXTRA:
            yield [*place, "", "no row", "a row"]
        case RowDifferenceKind.CHANGED:
            for column, *values in difference.changes:
                shown = [
                    (_NULL if each is None else each)
                    if display.is_shown(difference, column)
                    else _PROTECTED
                    for each in values
                ]
                yield [*place, column, *shown]


def _absent(difference: RowDifference) -> str:
    if difference.hold is QuarantineHold.NONE:
        return "no row"
    return "in quarantine"


def _key(difference: RowDifference) -> str:
    """The record, and what else identifies the row: `P/3, revision 2`."""
    parts = []
    for name, value in difference.key:
        if name == "record_id":
            parts.append(str(value))
        elif name != "agency":
            parts.append(f"{name} {value}")
    return ", ".join(parts)
