"""`sinergi outbox`: rows that wait, rows that nobody needs, and what a restore has lost."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sinergi.cli import prune_output, relay, root, terminal
from sinergi.cli.options import AsJson, Limit, command_group
from sinergi.cli.owned_outbox import owned_outbox
from sinergi.cli.tables import ColumnKind, TableCell, TableColumn
from sinergi.exit_status import ExitStatus
from sinergi_producers.outbox import discarding, pending
from sinergi_producers.recovery import recovery
from sinergi_schemas.plain_text import counted
from sinergi_schemas.zones import local_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi_producers.outbox.pending import PendingRow
    from sinergi_producers.recovery.lost_events import RelatedRow, TopicEvent
    from sinergi_producers.recovery.reading import Extent
    from sinergi_producers.recovery.recovery import Recovery, RecoveryPlan

_OUTCOMES = {
    "forgotten": "forgotten here: gets its row, leaf {leaf} of partition {partition}",
    "known": "waits here: becomes leaf {leaf} of partition {partition}",
    "unproved": "leaf {leaf} of partition {partition}: left, since nothing proves it",
    "renumbered": "published since: becomes revision {new_revision}",
    "withheld": "published since: held, its record is retracted",
}

_WAITING = (
    TableColumn("id", ColumnKind.NUMBER),
    TableColumn("event type"),
    TableColumn("record"),
    TableColumn("rev.", ColumnKind.NUMBER),
    TableColumn("recorded at"),
    TableColumn("why it waits", ColumnKind.PROSE),
)
_EXTENTS = (
    TableColumn("topic", ColumnKind.HEADING),
    TableColumn("part.", ColumnKind.NUMBER),
    TableColumn("database knows", ColumnKind.NUMBER),
    TableColumn("proved beyond", ColumnKind.NUMBER),
    TableColumn("unproved beyond", ColumnKind.NUMBER),
    TableColumn("lost at the start", ColumnKind.NUMBER),
)
_TOUCHED = (
    TableColumn("event type"),
    TableColumn("record", ColumnKind.HEADING),
    TableColumn("rev.", ColumnKind.NUMBER),
    TableColumn("event"),
    TableColumn("what becomes of it", ColumnKind.PROSE),
)

app = command_group("outbox", "What waits in the outbox; prune it, or recover it after a restore.")


@app.command("list")
def list_(
    held: Annotated[
        bool, typer.Option("--held", help="Only rows that the relay holds back.")
    ] = False,
    unsealed: Annotated[
        bool, typer.Option("--unsealed", help="Only rows that wait for the relay.")
    ] = False,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List the events that are not sealed yet, the oldest first.

    A held row is tried again by itself when what it lacks is there: an agreement that covers it, a
    version that has its schema, the revision before it. What cannot be mended, discard.

    Example: sinergi outbox list --held
    """
    one_kind = pending.PendingKind.HELD if held else pending.PendingKind.UNSEALED
    kind = None if held == unsealed else one_kind
    rows, count = pending.pending_rows(root.settings().producer_database, kind, limit)
    terminal.show_rows(_WAITING, rows, _cells, count, as_json=as_json)


def _cells(row: PendingRow) -> list[str]:
    why = row.held or ("history waits for what is live" if row.backfill else "for the relay")
    at = local_text(row.recorded_at)
    return [str(row.id), row.event_type, row.record_id, str(row.revision), at, why]


@app.command()
def discard(
    ids: Annotated[
        list[int], typer.Argument(metavar="ID", help="Rows, as `outbox list --held` shows them.")
    ],
) -> None:
    """Delete rows that the relay holds and that nobody can mend; they were never on the bus.

    All of them are deleted or none. The record is as it was before, and later revisions that were
    held with it are released. It runs as the database's owner
    (`producer.owner_database`), which must lead to the database of `producer.database`.

    Example: sinergi outbox discard 4711
    """
    discarding.discard(owned_outbox(root.settings()), ids)
    terminal.note(f"sinergi: discarded: {', '.join(map(str, ids))}")


@app.command()
def recover(
    apply: Annotated[bool, typer.Option("--apply", help="Do it, and not only show it.")] = False,
    vouch: Annotated[
        bool,
        typer.Option(
            "--vouch", help="Bring back events that no checkpoint proves: look at each before."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring events that only the topics still have back into a restored database.

    Stop every relay first. It shows what the topics hold beyond the database, and what becomes of
    rows that were published since the restore; with --apply it is done in one transaction.
    Of the events that the database knows, only the first of each partition is looked for on the
    topic: `sinergi replay` verifies all of it.
    Runbook: docs/runbooks.md.

    Exit status: 0 nothing is left to do, 1 something is, 2 it could not be done or checked.

    Example: sinergi outbox recover --apply
    """
    recovery = _recovery(as_owner=apply)
    plan = recovery.apply(vouched=vouch) if apply else recovery.plan(vouched=vouch)
    if as_json:
        terminal.show_json(_document(plan, applied=apply), default=str)
    else:
        _show(plan)
    if any(each.lost for each in plan.extents):
        terminal.note(
            "sinergi: a topic has lost its first leaves; the relay sends those that are not pruned"
            " again when it starts"
        )
    if plan.left:
        left = counted(len(plan.left), "event")
        terminal.note(f"sinergi: {left} left that nothing proves; see --vouch")
    if plan.is_needed and not apply:
        terminal.note("sinergi: nothing was changed; --apply does it")
    if plan.left or (plan.is_needed and not apply):
        raise typer.Exit(ExitStatus.NEGATIVE)


@app.command()
def prune(
    apply: Annotated[bool, typer.Option("--apply", help="Do it, and not only show it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take the contents out of rows that every reader has.

    A row is pruned if the brokers have confirmed its leaf, every database of every reader that an
    agreement names has signed a receipt for it, and it was sealed `producer.prune_days` ago. Its
    datum goes. What stays is what publishing, relay, recovery and status need; no count changes. A
    pruned leaf cannot be sent again if a topic loses it. With --apply it runs as the database's
    owner (`producer.owner_database`), while relays run or not, and shows the state afterwards.
    Repeated, it goes on where it was stopped. Runbook: docs/runbooks.md.

    Exit status: 0 nothing is left to do, 1 something is, 2 it could not be done or checked.

    Example: sinergi outbox prune --apply
    """
    settings = root.settings()
    status = prune_output.prune(settings, apply=apply, as_json=as_json)
    if status is not ExitStatus.SUCCESS:
        raise typer.Exit(status)


def _recovery(*, as_owner: bool) -> Recovery:
    settings = root.settings()
    setup = relay.setup_of(settings)
    if as_owner:
        setup = replace(setup, database=owned_outbox(settings))
    return recovery.Recovery(setup)


def _document(plan: RecoveryPlan, *, applied: bool) -> dict[str, Any]:
    return {
        "is_needed": plan.is_needed,
        "is_applied": plan.is_needed and applied,
        "partitions": [asdict(each) for each in plan.extents],
        "events": list(_events(plan)),
    }


def _events(plan: RecoveryPlan) -> Iterator[dict[str, Any]]:
    """Each event that the recovery changes or leaves, without its content."""
    settlement = plan.settlement
    for outcome, events in (
        ("forgotten", settlement.forgotten),
        ("known", [event for _, event in settlement.known]),
        ("unproved", plan.left),
    ):
        for event in events:
            yield {
                "outcome": outcome,
                **_named(event),
                "action": event.action,
                "recorded_at": event.recorded_at.isoformat(),
                "partition": event.tree_key.partition,
                "leaf": event.leaf_index,
            }
    for each in settlement.renumbered:
        yield {"outcome": "renumbered", **_named(each.row), "new_revision": each.revision}
    for row in settlement.withheld:
        yield {"outcome": "withheld", **_named(row)}


def _named(each: TopicEvent | RelatedRow) -> dict[str, Any]:
    event_type, record_id = each.record
    return {
        "event_id": str(each.event_id),
        "event_type": event_type,
        "record_id": record_id,
        "revision": each.revision,
    }


def _show(plan: RecoveryPlan) -> None:
    terminal.show_table(_EXTENTS, map(_extent, plan.extents))
    touched = list(_events(plan))
    if touched:
        terminal.show_line("")
        terminal.show_table(_TOUCHED, map(_touched, touched))


def _extent(extent: Extent) -> list[str | TableCell]:
    style = "yellow" if extent.is_forgotten else ""
    numbers = (extent.partition, extent.known, extent.proved, extent.unproved, extent.lost)
    return [TableCell(extent.topic, style), *(TableCell(str(each), style) for each in numbers)]


def _touched(event: dict[str, Any]) -> list[str]:
    named = [event["event_type"], event["record_id"], str(event["revision"]), event["event_id"]]
    return [*named, _OUTCOMES[event["outcome"]].format_map(event)]
