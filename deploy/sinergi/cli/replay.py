"""`sinergi replay`: topics read again from their first leaf, verified, without effects."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from sinergi.cli import root
from sinergi.cli.output import Output, open_writer
from sinergi_consumers.audit import Audit, Copies
from sinergi_consumers.bus import Bus
from sinergi_consumers.replay import Wanted
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

_DISPROVED = 1


def replay(
    topics: Annotated[
        list[str], typer.Argument(metavar="TOPIC...", help="sinergi.<agency>.<event-type>.")
    ],
    since: Annotated[
        str | None, typer.Option("--from", help="Recorded at or after, with zone offset.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", help="Recorded before, with zone offset.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="One record only: its record_id.")] = None,
    output: Annotated[Output, typer.Option(help="How to write the events.")] = Output.TABLE,
    to_file: Annotated[
        Path | None, typer.Option("--out", help="Write to this file, not to standard output.")
    ] = None,
    copy: Annotated[
        str | None, typer.Option(help="Read this topic instead, a copy of TOPIC.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Another copy of TOPIC, to compare with leaf by leaf.")
    ] = None,
    notes: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write the signed checkpoints, heads and receipts there."
        ),
    ] = None,
) -> None:
    """Read topics again, verified from their first leaf; only what holds is shown.

    Nothing is written on the bus or in a database. A topic is also held against what its owner's
    heads and its readers' receipts state, so that a tail that was cut off is seen.

    Exit status: 0 all of it holds; 1 something does not, and what holds is shown; 2 it could not be
    told.

    Examples:
      sinergi replay sinergi.lapas-banyuwangi.transfer --key P/12 --output ndjson
      sinergi replay sinergi.bnnk-banyuwangi.seizure --from 2026-03-01T00:00+07:00
    """
    names = [_topic(each) for each in topics]
    if len(names) > 1 and (copy or against):
        raise errors.ReplayRefused("--copy and --against go with a single TOPIC")
    if len({each.event_type for each in names}) > 1 and output is not Output.NDJSON:
        raise errors.ReplayRefused("events of several types have no common columns; use ndjson")
    wanted = _wanted(since, until, key)
    bus = _bus()
    audits = [Audit(bus, name, Copies(copy, against)) for name in names]
    with open_writer(output, to_file) as writer:
        for name, audit in zip(names, audits, strict=True):
            for events in _verifying(audit, wanted):
                writer.add(events)
            _report(name, audit)
    if notes is not None:
        _keep_notes(notes, names, audits)
    if any(audit.verdict.findings for audit in audits):
        raise typer.Exit(_DISPROVED)


def _wanted(since: str | None, until: str | None, key: str | None) -> Wanted:
    start, end = _instant("--from", since), _instant("--to", until)
    if start and end and start >= end:
        raise errors.ReplayRefused("--from is not before --to, so no event lies between")
    return Wanted(start, end, key)


def _verifying(audit: Audit, wanted: Wanted) -> Iterator[pl.DataFrame]:
    """The frames of an audit, with a bar on standard error while they come."""
    yield audit.nothing()
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=None)
        for events in audit.events(wanted):
            at, end = audit.tallies[-1].offsets
            progress.update(task, completed=at, total=end)
            yield events


def _report(topic: Topic, audit: Audit) -> None:
    """What was verified and what does not hold, for people; the data is on standard output."""
    name = audit.name
    verified, unsealed, shown, unfit = (
        sum(each)
        for each in zip(
            *((t.verified, t.unsealed, t.shown, len(t.unfit)) for t in audit.tallies), strict=True
        )
    )
    said = f"{name}: {verified} leaves verified under {topic.agency}'s checkpoints, {shown} shown"
    if unsealed:
        said += f"; {unsealed} messages behind the last checkpoint are not shown"
    if unfit:
        said += f"; {unfit} sealed events are not of the contract and not shown"
    typer.echo(said, err=True)
    _report_witnesses(topic, audit)
    for finding in audit.verdict.findings:
        typer.echo(f"sinergi: {finding.why}", err=True)
        for remark in finding.remarks:
            typer.echo(f"  {remark}", err=True)
    count = len(audit.verdict.findings)
    verdict = "is" if not count else "is not"
    found = f": {count} {'finding' if count == 1 else 'findings'}" if count else ""
    typer.echo(f"verdict: {name} {verdict} what {topic.agency} sealed{found}", err=True)


def _report_witnesses(topic: Topic, audit: Audit) -> None:
    testimony = audit.verdict.testimony
    receipts = sum(each.kind == "receipt" for each in testimony.witnesses)
    if testimony.has_heads:
        typer.echo(f"  witnesses: {topic.agency}'s heads, and {receipts} receipts", err=True)
    else:
        what = f"no heads of {topic.agency} were found, and {receipts} receipts"
        typer.echo(f"  witnesses: {what}; newer messages may be missing", err=True)
    if audit.verdict.compared is not None:
        against = audit.copies.against
        typer.echo(f"  compared with {against}: {audit.verdict.compared} leaves", err=True)


def _keep_notes(folder: Path, topics: list[Topic], audits: list[Audit]) -> None:
    """Write the signed notes into a folder, for other people's tools.

    Raises:
        ReplayRefused: the folder does not take them.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for topic, audit in zip(topics, audits, strict=True):
            for name, note in audit.notes().items():
                (folder / f"{topic.name}.{name}.txt").write_text(note, encoding="utf-8")
    except OSError as why:
        raise errors.ReplayRefused(f"{why.filename} cannot be written ({why.strerror})") from None


def _bus() -> Bus:
    settings = root.settings()
    return Bus(settings.connection(), settings.agreements(), Catalog.shipped())


def _topic(name: str) -> Topic:
    try:
        return Topic.parse(name)
    except ValueError as why:
        raise errors.ReplayRefused(str(why)) from None


def _instant(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise errors.ReplayRefused(
            f"{option} {text!r} is no time; write 2026-03-03T17:00+07:00"
        ) from None
    if found.tzinfo is None:
        raise errors.ReplayRefused(f"{option} {text!r} lacks a zone offset, as +07:00")
    return found
