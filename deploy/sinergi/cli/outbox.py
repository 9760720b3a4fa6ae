"""`sinergi outbox list | recover`: what waits in this agency's outbox; what a restore has lost."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sinergi.cli import root
from sinergi_producers.waiting import Kind, Waiting, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi_producers.forgotten import Found, Row
    from sinergi_producers.recovery import Plan, Recovery

_OUTCOMES = {
    "forgotten": "forgotten here: gets its row, leaf {leaf} of partition {partition}",
    "known": "waits here: becomes leaf {leaf} of partition {partition}",
    "unproved": "leaf {leaf} of partition {partition}: left, since nothing proves it",
    "renumbered": "published since: becomes revision {new_revision}",
    "withheld": "published since: held, its record is retracted",
}

app = typer.Typer(
    name="outbox",
    help="What waits in the outbox, and how to recover it after a restore.",
    no_args_is_help=True,
    add_completion=False,
)


@app.callback()
def group() -> None:
    """What waits in the outbox, and how to recover it after a restore."""


@app.command("list")
def list_(
    held: Annotated[
        bool, typer.Option("--held", help="Only rows that the relay holds back.")
    ] = False,
    unsealed: Annotated[
        bool, typer.Option("--unsealed", help="Only rows that wait for the relay.")
    ] = False,
    most: Annotated[int, typer.Option("--limit", min=1, help="Show so many at most.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON document.")] = False,
) -> None:
    """List the events that are not sealed yet, the oldest first.

    A held row is tried again by itself when an agreement that covers it is loaded.

    Example: sinergi outbox list --held
    """
    kind = None if held == unsealed else Kind.HELD if held else Kind.UNSEALED
    rows, count = waiting(root.settings().producer_database, kind, most)
    if as_json:
        document = {"count": count, "rows": [each._asdict() for each in rows]}
        typer.echo(json.dumps(document, default=str, indent=2))
        return
    Console().print(_table(rows))
    typer.echo(f"sinergi: {count} in all, {len(rows)} shown", err=True)


def _table(rows: list[Waiting]) -> Table:
    table = Table("id", "event type", "record", "revision", "recorded at", "why it waits")
    for each in rows:
        why = each.held or ("history waits for what is live" if each.backfill else "for the relay")
        table.add_row(
            str(each.id),
            each.event_type,
            each.record_id,
            str(each.revision),
            each.recorded_at.isoformat(timespec="seconds"),
            why,
        )
    return table


@app.command()
def recover(
    apply: Annotated[bool, typer.Option("--apply", help="Do it, and not only show it.")] = False,
    vouch: Annotated[
        bool,
        typer.Option(
            "--vouch", help="Take on events that no checkpoint proves: look at each before."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON document.")] = False,
) -> None:
    """Take back into a restored database what its topics remember and it has forgotten.

    Stop every relay first. It shows what the topics hold beyond the database, and what becomes of
    rows that were published since the restore; with --apply it is done in one transaction.
    Runbook: docs/runbooks.md.

    Exit status: 0 nothing is left to do, 1 something is, 2 it could not be done or told.

    Example: sinergi outbox recover --apply
    """
    recovery = _recovery()
    plan = recovery.apply(vouched=vouch) if apply else recovery.plan(vouched=vouch)
    if as_json:
        typer.echo(json.dumps(_document(plan, applied=apply), default=str, indent=2))
    else:
        _show(plan)
    if plan.left:
        count = len(plan.left)
        typer.echo(f"sinergi: {count} events left that nothing proves; see --vouch", err=True)
    if plan.is_needed and not apply:
        typer.echo("sinergi: nothing was changed; --apply does it", err=True)
    if plan.left or (plan.is_needed and not apply):
        raise typer.Exit(root.NOT_SO)


def _recovery() -> Recovery:
    from sinergi_producers.recovery import Recovery  # noqa: PLC0415 - heavy: not for `list`
    from sinergi_producers.relay import Identity  # noqa: PLC0415
    from sinergi_schemas.catalog import Catalog  # noqa: PLC0415

    settings = root.settings()
    keys = settings.signing_keys(settings.agreements())
    return Recovery(
        Identity(settings.agency, keys, settings.agreements),
        settings.producer_database,
        settings.connection(),
        Catalog.shipped(),
    )


def _document(plan: Plan, *, applied: bool) -> dict[str, Any]:
    return {
        "is_needed": plan.is_needed,
        "is_applied": plan.is_needed and applied,
        "partitions": [asdict(each) for each in plan.extents],
        "events": list(_events(plan)),
    }


def _events(plan: Plan) -> Iterator[dict[str, Any]]:
    """Each event that the recovery touches or leaves, without its contents."""
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
                "partition": event.share[1],
                "leaf": event.leaf_index,
            }
    for each in settlement.renumbered:
        yield {"outcome": "renumbered", **_named(each.row), "new_revision": each.revision}
    for row in settlement.withheld:
        yield {"outcome": "withheld", **_named(row)}


def _named(each: Found | Row) -> dict[str, Any]:
    event_type, record_id = each.record
    return {
        "event_id": str(each.event_id),
        "event_type": event_type,
        "record_id": record_id,
        "revision": each.revision,
    }


def _show(plan: Plan) -> None:
    console = Console(markup=False)
    extents = Table("topic", "part.", "database knows", "topic proves", "topic shows")
    for each in plan.extents:
        style = "yellow" if each.is_forgotten else None
        numbers = (each.partition, each.known, each.proved, each.shown)
        extents.add_row(each.topic, *map(str, numbers), style=style)
    console.print(extents)
    touched = list(_events(plan))
    if touched:
        events = Table("event type", "record", "rev.", "event", "what becomes of it")
        for one in touched:
            named = (one["event_type"], one["record_id"], str(one["revision"]), one["event_id"])
            events.add_row(*named, _OUTCOMES[one["outcome"]].format_map(one))
        console.print(events)
