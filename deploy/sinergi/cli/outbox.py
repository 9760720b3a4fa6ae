"""`sinergi outbox list`: what waits in this agency's outbox, and why."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sinergi.cli import root
from sinergi_producers.waiting import Kind, Waiting, waiting

app = typer.Typer(
    name="outbox",
    help="What waits in the outbox, and why.",
    no_args_is_help=True,
    add_completion=False,
)


@app.callback()
def group() -> None:
    """What waits in the outbox, and why."""


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
