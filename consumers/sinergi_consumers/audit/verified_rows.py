"""The parts of a verification that are about tables: their form, their rows and the quarantine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_consumers.audit.verified_parts import PartVerdict, VerifiedPart
from sinergi_consumers.sinks.postgresql.row_comparison import RowDifferenceKind
from sinergi_schemas.plain_text import counted, plain
from sinergi_schemas.zones import local_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi_consumers.audit.projection_check import ProjectionResult, TableResult
    from sinergi_consumers.sinks.postgresql.table_structure import TableStructure

_MOST_WRITERS = 4


def of_rows(result: ProjectionResult, *, has_position: bool) -> Iterator[VerifiedPart]:
    """The tables of a projection, their rows, and its quarantine."""
    for each in result.structures.values():
        yield from _of_structure(each)
    if result.missing:
        what = f"{result.missing[0]} is not in the database: run `sinergi db upgrade`"
        yield VerifiedPart("rows", result.projection.name, PartVerdict.UNCHECKED, what)
        return
    for table in result.tables:
        yield from _of_table(table, result, has_position=has_position)
    if unknown := result.unknown_agreement:
        where = f"leaf {unknown.leaf_index} of {unknown.topic}/{unknown.partition}"
        more = f"; {unknown.events - 1:,} more" if unknown.events > 1 else ""
        what = f"whether {where} is a row or in quarantine cannot be told: {unknown.reason}{more}"
        yield VerifiedPart("quarantine", result.projection.name, PartVerdict.UNCHECKED, what)
    if missing := result.missing_refusal:
        where = f"leaf {missing.leaf_index} of {missing.topic}/{missing.partition}"
        more = f", and {missing.events - 1:,} more" if missing.events > 1 else ""
        what = f"{where} can be no row ({missing.reason}) and is not in quarantine{more}"
        writers = "whoever may write to sinergi_consumer.quarantine in the database"
        suspects = f"{writers}{_publisher(result)}"
        name = result.projection.name
        yield VerifiedPart("quarantine", name, PartVerdict.DISPROVED, what, suspects)


def _of_structure(structure: TableStructure) -> Iterator[VerifiedPart]:
    if structure.kind:
        what = f"it is {structure.kind} in place of a table: it may hide rows and change values"
        suspects = "the owner of the schema, or a superuser"
        yield VerifiedPart("table", structure.name, PartVerdict.DISPROVED, what, suspects)
    elif structure.differing:
        what = "; ".join(structure.differing)
        suspects = "the owner of the table, or a superuser"
        yield VerifiedPart("table", structure.name, PartVerdict.DISPROVED, what, suspects)


def _of_table(
    table: TableResult, result: ProjectionResult, *, has_position: bool
) -> Iterator[VerifiedPart]:
    name = table.comparison.name
    if table.differing:
        kinds: dict[str, int] = {}
        for each in table.counts:
            kinds[each.kind] = kinds.get(each.kind, 0) + each.rows
        columns = ", ".join(f"{column} in {count:,}" for column, count in table.columns.items())
        of_kind = {str(RowDifferenceKind.CHANGED): f" ({columns})"}
        found = ", ".join(f"{n:,} {kind}{of_kind.get(kind, '')}" for kind, n in kinds.items())
        expected = table.rows - table.removed
        what = f"{found}; {expected:,} expected{_of_removed(table, result)}"
        suspects = f"{_writers(table.comparison.structure)}{_publisher(result)}{_older(table)}"
        yield VerifiedPart("rows", name, PartVerdict.DISPROVED, what, suspects)
    if result.unchecked_records:
        first = result.unchecked[0]
        records = counted(result.unchecked_records, "record")
        what = f"{records} not compared: {first.why} in {first.tp}"
        yield VerifiedPart("rows", name, PartVerdict.UNCHECKED, what)
    if table.undecided:
        rows = counted(table.undecided, "row")
        what = (
            f"{rows} of events that a foreign key, trigger or rule of the table may refuse,"
            " or that stand in two partitions at the same revision"
        )
        yield VerifiedPart("rows", name, PartVerdict.UNCHECKED, what)
    if table.differing or result.unchecked_records or table.undecided:
        return
    if not has_position:
        what = "nothing was materialised, and the table is empty"
        yield VerifiedPart("rows", name, PartVerdict.UNCHECKED, what)
        return
    there = counted(table.rows - table.removed, "row")
    yield VerifiedPart("rows", name, PartVerdict.PROVED, f"{there}{_of_removed(table, result)}")


def _of_removed(table: TableResult, result: ProjectionResult) -> str:
    """How many rows of a table were removed as old enough, as text after the number of rows."""
    removed = result.removed
    if removed is None or not removed.missing:
        return ""
    found = removed.retention
    before = f"of events recorded before {found.before:%Y-%m-%d}"
    if not removed.is_explained:
        return (
            f"; {counted(removed.missing, 'row')} {before} are missing in {result.projection.name},"
            f" and sinergi_consumer.retention records {found.rows:,} as removed"
        )
    return (
        f"; {counted(table.removed, 'row')} {before} not there: removed by retention, the last time"
        f" on {found.removed_at:%Y-%m-%d} by {plain(found.user)}"
    )


def _publisher(result: ProjectionResult) -> str:
    """That the publisher may have done it, if the events that would show it were removed."""
    if result.removed is None:
        return ""
    return ", or the publisher, by another event with the revision of one that was removed"


def _older(table: TableResult) -> str:
    """That no more than an older version may have written these rows."""
    if table.added_at is None:
        return ""
    return (
        f", or a materialiser of a version from before {local_text(table.added_at)}, when"
        f" these columns were added: `sinergi rebuild {table.comparison.projection.name} --apply`"
        " fills them"
    )


def _writers(structure: TableStructure) -> str:
    """Who may change the rows of a table, as text."""
    shown = ", ".join(structure.writers[:_MOST_WRITERS])
    more = len(structure.writers) - _MOST_WRITERS
    rest = f" and {more} more" if more > 0 else ""
    return f"whoever may write to that table in the database ({shown}{rest})"
