"""What `sinergi provision plan` and `apply` write about a plan, for people and as JSON."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TextColumn,
)
from rich.text import Text

from sinergi.cli import terminal
from sinergi.cli.tables import ColumnKind, TableCell, TableColumn
from sinergi.provision.access import AccessAction
from sinergi.provision.plan import SETTLED
from sinergi.provision.progress import RIGHT, TOPIC, USER, Progress
from sinergi.provision.rights import shown_time
from sinergi.provision.topics import TopicAction
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.progress import Task

    from sinergi.provision.access import AccessStep
    from sinergi.provision.coming import ComingChange
    from sinergi.provision.plan import ProvisionPlan
    from sinergi.provision.topics import TopicStep

_STYLES = {
    TopicAction.OK: "green",
    TopicAction.CREATE: "cyan",
    TopicAction.CHANGE: "yellow",
    TopicAction.REFUSED: "bold red",
    TopicAction.WAITING: "bold red",
}
_ACCESS_STYLES = {
    AccessAction.OK: "green",
    AccessAction.CREATE: "cyan",
    AccessAction.REMOVE: "yellow",
    AccessAction.LEFT: "dim",
    AccessAction.REFUSED: "bold red",
}
_TOPICS = (
    TableColumn("topic", ColumnKind.HEADING),
    TableColumn("partitions", ColumnKind.NUMBER),
    TableColumn("copies", ColumnKind.NUMBER),
    TableColumn("action"),
    TableColumn("what", ColumnKind.PROSE),
)
_ACCESS = (
    TableColumn("principal", ColumnKind.HEADING),
    TableColumn("action"),
    TableColumn("right"),
    TableColumn("where"),
    TableColumn("why", ColumnKind.PROSE),
)
# In the order in which the last line counts them, each with its words.
_COUNTED = (
    ("create", "to create"),
    ("change", "to change"),
    ("remove", "to remove"),
    ("ok", "as agreed"),
    ("left", "left as they are"),
    ("refused", "refused"),
    ("waiting", "waiting for brokers"),
)
_ALWAYS = ("create", "remove", "ok")


def show(
    plan: ProvisionPlan,
    coming: Sequence[ComingChange],
    *,
    only_changes: bool = False,
    as_json: bool = False,
) -> None:
    """Write a plan to standard output, and how much there is to do to standard error.

    In a pipe each topic and right is one line.

    Args:
        coming: what agreements will give and take later.
        only_changes: leave out what is as agreed, and what is left.
    """
    topics, access = plan.topics, plan.access
    if only_changes:
        topics = [each for each in topics if each.verdict not in SETTLED]
        access = access and [each for each in access if each.action not in SETTLED]
    if as_json:
        shown = plan.with_steps(topics, access).document
        terminal.show_json(shown | {"coming": [_coming(each) for each in coming]})
        return
    terminal.show_table(_TOPICS, map(_topic_row, topics), whole_in_pipe=True)
    if access:
        terminal.show_line("")
        terminal.show_table(_ACCESS, map(_access_row, access), whole_in_pipe=True)
    for each in coming:
        terminal.show_line("")
        for line in _coming_lines(each):
            terminal.show_line(line)
    terminal.note(f"sinergi: {_summary(plan)}")


@contextmanager
def applying(plan: ProvisionPlan) -> Iterator[Progress]:
    """A progress bar over the changes of a plan for each kind. It is given what counts them.

    In the end it says what was done, also where the apply fails or is interrupted.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
    )
    bar = terminal.progress(*columns)
    changes = plan.changes
    tasks = {
        kind: bar.add_task(f"{kind}s", total=changes[kind], start=False)
        for kind in (TOPIC, USER, RIGHT)
        if changes[kind]
    }

    def report(kind: str, done: int) -> None:
        task = tasks[kind]
        if not bar.tasks[task].started:
            bar.start_task(task)
        bar.update(task, completed=done)

    progress = Progress(report)
    with _reporting_end(progress), bar:
        yield progress


class _RateColumn(ProgressColumn):
    """The changes a second since the first were asked for, and the time that the others need.

    Changes are confirmed in groups, so the rate of the latest ones says little.
    """

    def render(self, task: Task) -> Text:
        """The rate, or nothing before there is one."""
        if not task.completed or not task.elapsed:
            return Text("")
        rate = task.completed / task.elapsed
        return Text(f"{rate:,.0f}/s, {(task.remaining or 0) / rate:,.0f} s left")


@contextmanager
def _reporting_end(progress: Progress) -> Iterator[None]:
    rest = (
        "make and apply a new plan, or run `sinergi provision apply` without one: it does the rest"
    )
    try:
        yield
    except (KeyboardInterrupt, SystemError):  # Ctrl-C in a C function becomes a SystemError
        terminal.note(
            f"sinergi: interrupted. Done already, if not more: {progress}. To finish, {rest}"
        )
        raise
    except errors.SinergiError as why:
        if progress.counts or not isinstance(why, errors.PasswordFileRefused):
            terminal.note(
                f"sinergi: it failed in the middle. Done already: {progress}. Once the cause below"
                f" is mended, {rest}"
            )
        raise
    what = f"{progress} made, changed or removed" if progress.counts else "nothing was left to do"
    terminal.note(f"sinergi: done: {what}")


def _summary(plan: ProvisionPlan) -> str:
    actions = [str(each.verdict) for each in plan.topics]
    actions += [str(each.action) for each in plan.access or ()]
    return ", ".join(
        f"{actions.count(action):,} {words}"
        for action, words in _COUNTED
        if action in _ALWAYS or action in actions
    )


def _coming_lines(change: ComingChange) -> Iterable[str]:
    yield f"later, at {shown_time(change.at)}: {change.why}"
    for name in change.topics:
        yield f"  create topic {name}"
    for entry in change.given:
        yield f"  create {entry.principal}: {entry}"
    for entry in change.ended:
        yield f"  remove {entry.principal}: {entry} (once provision.grace_hours are over)"


def _coming(change: ComingChange) -> dict[str, Any]:
    return {
        "at": change.at.isoformat(),
        "why": change.why,
        "topics": list(change.topics),
        "create": [f"{each.principal}: {each}" for each in change.given],
        "remove": [f"{each.principal}: {each}" for each in change.ended],
    }


def _topic_row(step: TopicStep) -> list[str | TableCell]:
    verdict = TableCell(step.verdict, _STYLES[step.verdict])
    return [step.topic, str(step.partitions), str(step.copies), verdict, step.what]


def _access_row(step: AccessStep) -> list[str | TableCell]:
    action = TableCell(step.action, _ACCESS_STYLES[step.action])
    may, where = ("log in", "") if step.entry is None else (step.entry.may, step.entry.where)
    return [step.principal, action, may, where, step.why]
