"""`sinergi provision`: show and make the topics that the agreements in force need."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from sinergi.cli import root, terminal
from sinergi.cli.options import AsJson, command_group
from sinergi.cli.tables import ColumnKind, TableCell, TableColumn
from sinergi.exit_status import ExitStatus
from sinergi.provision import Cluster, Step, TopicAction, remarks, wanted
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.admin import open_admin

_STYLES = {
    TopicAction.OK: "green",
    TopicAction.CREATE: "cyan",
    TopicAction.CHANGE: "yellow",
    TopicAction.REFUSED: "bold red",
}

_COLUMNS = (
    TableColumn("topic", ColumnKind.HEADING),
    TableColumn("partitions", ColumnKind.NUMBER),
    TableColumn("copies", ColumnKind.NUMBER),
    TableColumn(""),
    TableColumn("what", ColumnKind.PROSE),
)

UnknownTypes = Annotated[
    list[str] | None,
    typer.Option(
        "--unknown-type",
        metavar="EVENT_TYPE",
        help="Make its topics although this version does not know it. May be repeated.",
    ),
]

app = command_group("provision", "Make the topics that the agreements in force need.")


@app.command()
def plan(unknown_types: UnknownTypes = None, as_json: AsJson = False) -> None:
    """Show what would be done; do nothing.

    Exit status: 0 nothing is left to do, 1 something is, 2 a topic is refused.
    """
    _, steps = _plan(unknown_types)
    _show(steps, as_json=as_json)
    verdicts = {step.verdict for step in steps}
    if TopicAction.REFUSED in verdicts:
        raise typer.Exit(ExitStatus.ERROR)
    if verdicts - {TopicAction.OK}:
        raise typer.Exit(ExitStatus.NEGATIVE)


@app.command()
def apply(unknown_types: UnknownTypes = None, as_json: AsJson = False) -> None:
    """Make what is missing and mend what differs.

    A topic that has fewer partitions than it should is refused and left as it is; the others are
    made and mended. Partitions beyond those agreed are listed, and do no harm. A topic of an event
    type that this version does not know is not made, unless --unknown-type names the type: it may
    be misspelt in the agreement, and a topic is never deleted.

    Exit status: 0 done, 2 a topic is refused.
    """
    cluster, steps = _plan(unknown_types)
    _show(steps, as_json=as_json)
    cluster.apply(steps)


def _plan(unknown_types: list[str] | None) -> tuple[Cluster, list[Step]]:
    settings = root.settings()
    agreements, now = settings.agreements(), SYSTEM.now()
    want = wanted(agreements, now, unknown_types or ())
    for remark in remarks(agreements, now):
        terminal.note(f"sinergi: {remark}")
    cluster = Cluster(open_admin(settings.connection()), settings.values.provision.replication)
    return cluster, cluster.plan(want)


def _show(steps: list[Step], *, as_json: bool) -> None:
    if as_json:
        terminal.show_json([asdict(step) for step in steps])
        return
    terminal.show_table(_COLUMNS, map(_row, steps))


def _row(step: Step) -> list[str | TableCell]:
    verdict = TableCell(step.verdict, _STYLES[step.verdict])
    return [step.topic, str(step.partitions), str(step.copies), verdict, step.what]
