"""What `sinergi db prune` does and shows."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from sinergi.cli import terminal
from sinergi.cli.decisions import decision
from sinergi.cli.tables import ColumnKind, TableCell, TableColumn
from sinergi.exit_status import ExitStatus
from sinergi.settings.model import BusRole
from sinergi_consumers.sinks.postgresql.reader_pruning import ReaderPruning, RetentionPeriods
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinergi.settings.settings import Settings
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.sinks.postgresql.reader_pruning import PrunableTable, ReaderPrunePlan

_WHY = "sinergi db prune --apply"
_COLUMNS = (
    TableColumn("table", ColumnKind.HEADING),
    TableColumn("kept since"),
    TableColumn("removed", ColumnKind.NUMBER),
    TableColumn("to remove", ColumnKind.NUMBER),
)


def prune(
    settings: Settings,
    projections: Sequence[Projection],
    why: str | None,
    *,
    apply: bool,
    as_json: bool,
) -> ExitStatus:
    """Show what may be removed, and remove it if that is wanted.

    Raises:
        Unavailable: the database does not answer.
        DatabaseBroken: the database does not permit it.
        ReaderPruneRefused: the user does not own the tables.
        HistoryReferenced: a foreign key of others, or the like, leads to rows to be removed.
    """
    values = settings.values
    kept = values.consumer.retention
    periods = RetentionPeriods(kept.history_months, kept.checkpoint_months, kept.receipt_months)
    url = settings.owner_database(BusRole.CONSUMER) if apply else settings.consumer_database
    pruning = ReaderPruning(url, projections, periods, values.timeouts.database)
    with closing(pruning):
        removed = None
        if apply:
            removed = sum(pruning.apply(decision(_WHY if why is None else why)))
        plan = pruning.plan()
    _show(plan, as_json=as_json, removed=removed)
    if removed is not None:
        terminal.note(f"sinergi: {counted(removed, 'row')} removed")
    elif plan.rows:
        terminal.note("sinergi: nothing was changed; --apply does it")
    return ExitStatus.NEGATIVE if plan.rows else ExitStatus.SUCCESS


def _show(plan: ReaderPrunePlan, *, as_json: bool, removed: int | None) -> None:
    """Show what may be removed.

    Args:
        removed: how many rows were removed just now; None if it was only shown.
    """
    if as_json:
        terminal.show_json(
            {
                "is_needed": plan.rows > 0,
                "is_applied": removed is not None,
                "removed_rows": removed or 0,
                "tables": [_document(each) for each in plan.tables],
            }
        )
        return
    terminal.show_table(_COLUMNS, map(_row, plan.tables))


def _document(table: PrunableTable) -> dict[str, Any]:
    return {
        "table": table.table,
        "before": None if table.before is None else table.before.isoformat(),
        "removed": table.removed,
        "to_remove": table.rows,
    }


def _row(table: PrunableTable) -> list[str | TableCell]:
    return [
        table.table,
        "ever" if table.before is None else f"{table.before:%Y-%m-%d}",
        str(table.removed),
        TableCell(str(table.rows), "yellow" if table.rows else ""),
    ]
