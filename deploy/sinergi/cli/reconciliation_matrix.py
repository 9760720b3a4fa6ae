"""The counts of a reconciliation as a table that a person reads at a glance."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from sinergi.cli import terminal
from sinergi.cli.tables import ColumnKind, TableCell, TableColumn
from sinergi_consumers.audit.reconciliation.comparison import SideCount
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sinergi_consumers.audit.reconciliation.comparison import Discrepancy
    from sinergi_consumers.audit.reconciliation.reconciliation import (
        MatrixRow,
        PlacedDiscrepancy,
        Reconciliation,
    )

_UNKNOWN = "unknown"
_MOST_ABREAST = 2  # sides that fit beside the other columns at 100 columns
_DIFFERENCES = (
    TableColumn("in", ColumnKind.HEADING),
    TableColumn("what"),
    TableColumn("leaf"),
    TableColumn("day"),
    TableColumn("event_id"),
)


def show(found: Reconciliation, *, is_every_day: bool) -> None:
    """Show a row for each topic and day. Neighbouring days on which all is equal are one row.

    More than two sides would not fit beside each other: then each has a row of its own.
    """
    names = [each.name for each in found.sides if each.name not in found.unread]
    names += [each.name for each in found.stated]
    groups = [*_groups(found.matrix, is_every_day=is_every_day)]
    columns = [
        TableColumn("agency", ColumnKind.HEADING),
        TableColumn("type", ColumnKind.HEADING),
        TableColumn(f"day ({found.zone})"),
        TableColumn("topic", ColumnKind.NUMBER),
    ]
    if len(names) > _MOST_ABREAST:
        sides = [TableColumn("side"), TableColumn("events there", ColumnKind.NUMBER)]
        rows = [[*_head(each), name, _cell(each, name)] for each in groups for name in names]
        terminal.show_table([*columns, *sides], rows)
        return
    beside = (TableColumn(name, ColumnKind.NUMBER) for name in names)
    abreast = [[*_head(each), *(_cell(each, name) for name in names)] for each in groups]
    terminal.show_table([*columns, *beside], abreast)


def _head(group: Sequence[MatrixRow]) -> list[str | TableCell]:
    """The cells before those of the sides."""
    topic, sealed = group[0].topic, sum(each.sealed for each in group)
    return [topic.agency, topic.event_type, _days(group), f"{sealed:,}"]


def show_differences(first: Sequence[PlacedDiscrepancy], count: int) -> None:
    """Show the first differences, each with the event and its place."""
    if not first:
        return
    rows: list[list[str | TableCell]] = [
        [
            f"{side}, of {topic.name}",
            TableCell(_what(found), "bold red"),
            "" if found.leaf is None else f"{found.partition}/{found.leaf}",
            _UNKNOWN if found.day is None else found.day.isoformat(),
            _UNKNOWN if found.event_id is None else str(found.event_id),
        ]
        for side, topic, found in first
    ]
    terminal.show_line("")
    terminal.show_table(_DIFFERENCES, rows)
    if count > len(first):
        terminal.note(f"{counted(count - len(first), 'more difference')}: --limit or --out")


def _what(found: Discrepancy) -> str:
    """What is wrong; for signed counts with both numbers."""
    if found.counts is None:
        return found.state
    there, expected = found.counts
    numbers = f"{there:,} there, {expected:,} in the topic"
    return f"{found.state}: {numbers}" if there != expected else "as many events, but others"


def _groups(matrix: Sequence[MatrixRow], *, is_every_day: bool) -> Iterator[Sequence[MatrixRow]]:
    """The rows that are shown as one."""

    def is_plain(row: MatrixRow) -> bool:
        counts = row.sides.values()
        return row.day is not None and all(
            each == SideCount(row.sealed, 0, 0, 0) for each in counts
        )

    for (_, together), group in groupby(matrix, key=lambda row: (row.topic, is_plain(row))):
        if together and not is_every_day:
            yield [*group]
        else:
            yield from ([each] for each in group)


def _days(group: Sequence[MatrixRow]) -> str:
    first, last = group[0].day, group[-1].day
    if first is None or last is None:
        return _UNKNOWN
    if first == last:
        return first.isoformat()
    return f"{first.isoformat()} to {last.isoformat()}"


def _cell(group: Sequence[MatrixRow], name: str) -> TableCell:
    """The count of a side: its rows, and what is in quarantine, on its way, or differs."""
    found = [each.sides[name] for each in group if name in each.sides]
    if not found:
        return TableCell("-", "dim")
    total = SideCount(*map(sum, zip(*found, strict=True)))
    text = f"{total.events:,}"
    if total.quarantined:
        text += f" + {total.quarantined:,} in quarantine"
    if total.on_their_way:
        text += f", {total.on_their_way:,} on their way"
    if total.removed:
        text += f", {total.removed:,} removed by retention"
    if total.discrepancies:
        text += f", {counted(total.discrepancies, 'difference')}"
    return TableCell(text, "bold red" if total.discrepancies else "")
