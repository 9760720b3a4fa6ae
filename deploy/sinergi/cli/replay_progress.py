"""Runs the audits of a command, with one progress bar over all topics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from sinergi.cli import terminal

if TYPE_CHECKING:
    from sinergi.cli.output import EventWriter
    from sinergi_consumers.audit.event_filter import ReplayFilter
    from sinergi_consumers.audit.series import AuditSeries


def run_series(
    series: AuditSeries, wanted: ReplayFilter, writer: EventWriter | None = None
) -> None:
    """Audit one topic after the other; verified events go to the writer, if there is one."""
    columns = (
        TextColumn("verifying"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("messages"),
        TimeRemainingColumn(),
    )
    with terminal.progress(*columns) as progress:
        task = progress.add_task("", total=None)
        for audit, events in series.events(wanted):
            progress.update(task, completed=series.messages_read, total=series.message_count)
            if writer is not None and not events.is_empty():
                writer.add(audit.topic, events)
