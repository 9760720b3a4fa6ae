"""What `sinergi outbox prune` does and shows."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from sinergi.cli import terminal
from sinergi.cli.owned_outbox import owned_outbox
from sinergi.cli.tables import ColumnKind, TableCell, TableColumn
from sinergi.exit_status import ExitStatus
from sinergi.settings.model import BusRole
from sinergi.status.receipted import receipted_sizes
from sinergi_producers.outbox.pruning import Pruning
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.plain_text import counted
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from sinergi.settings.settings import Settings
    from sinergi.status.receipted import ReceiptedSizes
    from sinergi_producers.outbox.pruning import PrunablePartition, PrunePlan

_COLUMNS = (
    TableColumn("topic", ColumnKind.HEADING),
    TableColumn("part.", ColumnKind.NUMBER),
    TableColumn("sent", ColumnKind.NUMBER),
    TableColumn("old enough", ColumnKind.NUMBER),
    TableColumn("all readers have", ColumnKind.NUMBER),
    TableColumn("pruned", ColumnKind.NUMBER),
    TableColumn("to prune", ColumnKind.NUMBER),
    TableColumn("slowest reader", ColumnKind.PROSE),
)


def prune(settings: Settings, *, apply: bool, as_json: bool) -> ExitStatus:
    """Show what may be pruned, and prune it if that is wanted.

    Raises:
        Unavailable: the brokers or the database do not answer.
        DatabaseBroken: the database does not permit it.
        OwnerDatabaseRefused: the owner logs in to another database.
    """
    agreements, timeouts = settings.agreements(), settings.values.timeouts
    settings.check_party(agreements)
    connection = settings.connection(BusRole.PRODUCER)
    silence = timeouts.status.silence
    receipted = receipted_sizes(connection, agreements, settings.agency, SYSTEM.now(), silence)
    days = settings.values.producer.prune_days
    database = owned_outbox(settings) if apply else settings.producer_database
    pruning = Pruning(database, days, receipted.sizes, timeouts.database)
    with closing(pruning):
        plan = shown = pruning.plan()
        pruned = 0
        if apply:
            pruned = sum(pruning.apply(plan))
            shown = pruning.plan()
    _show(settings.agency, shown, receipted, as_json=as_json, pruned=pruned if apply else None)
    for why in receipted.unknown:
        terminal.note(f"sinergi: not pruned: {why}")
    if apply:
        terminal.note(f"sinergi: {counted(pruned, 'row')} pruned")
        return ExitStatus.SUCCESS if pruned == plan.leaves else ExitStatus.NEGATIVE
    if plan.leaves:
        terminal.note("sinergi: nothing was changed; --apply does it")
        return ExitStatus.NEGATIVE
    return ExitStatus.SUCCESS


def _show(
    agency: str, plan: PrunePlan, receipted: ReceiptedSizes, *, as_json: bool, pruned: int | None
) -> None:
    """Show what may be pruned.

    Args:
        pruned: how many rows were pruned just now; None if it was only shown.
    """
    if as_json:
        terminal.show_json(
            {
                "is_needed": plan.leaves > 0,
                "is_applied": pruned is not None,
                "pruned_rows": pruned or 0,
                "unknown": receipted.unknown,
                "partitions": [_document(agency, each, receipted) for each in plan.partitions],
            }
        )
        return
    rows = (_row(agency, each, receipted) for each in plan.partitions)
    terminal.show_table(_COLUMNS, rows)


def _document(
    agency: str, partition: PrunablePartition, receipted: ReceiptedSizes
) -> dict[str, Any]:
    event_type, number = partition.tree_key
    size = receipted.sizes.get(partition.tree_key)
    lags = size is not None and size < partition.sent
    return {
        "topic": Topic(agency, event_type).name,
        "partition": number,
        "sent": partition.sent,
        "old": partition.old,
        "receipted": size,
        "slowest": receipted.slowest.get(partition.tree_key) if lags else None,
        "pruned": partition.pruned,
        "to_prune": partition.limit - partition.pruned,
    }


def _row(
    agency: str, partition: PrunablePartition, receipted: ReceiptedSizes
) -> list[str | TableCell]:
    found = _document(agency, partition, receipted)
    receipts = "unknown" if found["receipted"] is None else str(found["receipted"])
    return [
        found["topic"],
        str(found["partition"]),
        str(found["sent"]),
        str(found["old"]),
        receipts,
        str(found["pruned"]),
        TableCell(str(found["to_prune"]), "yellow" if found["to_prune"] else ""),
        found["slowest"] or "",
    ]
