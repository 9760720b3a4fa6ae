"""The progress bar of commands that read topics again, and the run of their audits."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from sinergi.cli import terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Task

    from sinergi.cli.output import EventWriter
    from sinergi_consumers.audit.event_filter import ReplayFilter
    from sinergi_consumers.audit.series import AuditSeries

_BAR = 16  # so that millions of messages fit into a line of 80 columns


class _MessagesColumn(ProgressColumn):
    """How many messages are done, of how many, and how many in a second."""

    def render(self, task: Task) -> Text:
        total = "?" if task.total is None else f"{task.total:,.0f}"
        rate = "" if task.speed is None else f", {task.speed:,.0f}/s"
        return Text(f"{task.completed:,.0f} of {total} messages{rate}")


def progress_columns(verb: str) -> tuple[ProgressColumn, ...]:
    """The columns of a progress bar over messages.

    Args:
        verb: what is done with them.
    """
    return (
        TextColumn(verb),
        BarColumn(bar_width=_BAR),
        _MessagesColumn(),
        TimeRemainingColumn(),
    )


@contextmanager
def message_progress(verb: str = "verifying") -> Iterator[Callable[[int, int], None]]:
    """A progress bar over messages, with their rate and the time left.

    Args:
        verb: what is done with them.

    Yields:
        What is called from time to time, with how many messages were read, and of how many.
    """
    with terminal.progress(*progress_columns(verb)) as progress:
        task = progress.add_task("", total=None)
        yield lambda read, total: progress.update(task, completed=read, total=total)


@contextmanager
def series_progress(series: AuditSeries, verb: str = "verifying") -> Iterator[Callable[[], None]]:
    """A progress bar over the messages of all topics; call what it yields after each batch."""
    with message_progress(verb) as report:
        yield lambda: report(series.messages_read, series.message_count)


def run_series(
    series: AuditSeries, wanted: ReplayFilter, writer: EventWriter | None = None
) -> None:
    """Audit one topic after the other; verified events go to the writer, if there is one."""
    with series_progress(series) as progressed:
        for audit, events in series.events(wanted):
            progressed()
            if writer is not None and not events.is_empty():
                writer.add(audit.topic, events)
