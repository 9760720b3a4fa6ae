"""`sinergi replay`: topics read again from their first leaf, verified, without effects."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from sinergi.cli import root, terminal
from sinergi.cli.output import Destination, Output, open_writer
from sinergi_consumers.audit import Audit, Copies
from sinergi_consumers.bus import Bus
from sinergi_consumers.replay import Wanted
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.output_file import AS_USUAL, OutputFile
from sinergi_schemas.plain_text import counted
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
    for_spreadsheets: Annotated[
        bool,
        typer.Option(
            "--spreadsheet-safe",
            help="In CSV put ' before a text that a spreadsheet would take for a formula.",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write over files that are there already.")
    ] = False,
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
    if notes is not None:
        _check_notes(notes, names, force=force)
    with open_writer(Destination(output, to_file, force, for_spreadsheets)) as writer:
        for name, audit in zip(names, audits, strict=True):
            for events in _verifying(audit, wanted):
                writer.add(events)
            _report(name, audit)
    if notes is not None:
        _keep_notes(notes, names, audits, force=force)
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
    with terminal.progress(*columns) as progress:
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
    leaves = counted(verified, "leaf", "leaves")
    said = f"{name}: {leaves} verified under {topic.agency}'s checkpoints, {shown:,} shown"
    if unsealed:
        said += f"; not shown: {counted(unsealed, 'message')} behind the last checkpoint"
    if unfit:
        said += f"; not shown: {counted(unfit, 'sealed event')} not of the contract"
    terminal.note(said)
    _report_witnesses(topic, audit)
    for finding in audit.verdict.findings:
        terminal.note(f"sinergi: {finding.why}")
        for remark in finding.remarks:
            terminal.note(f"  {remark}")
    count = len(audit.verdict.findings)
    verdict = "is" if not count else "is not"
    found = f": {counted(count, 'finding')}" if count else ""
    terminal.note(f"verdict: {name} {verdict} what {topic.agency} sealed{found}")


def _report_witnesses(topic: Topic, audit: Audit) -> None:
    testimony = audit.verdict.testimony
    count = sum(each.kind == "receipt" for each in testimony.witnesses)
    receipts = counted(count, "receipt")
    if testimony.has_heads:
        terminal.note(f"  witnesses: {topic.agency}'s heads, and {receipts}")
    else:
        what = f"no heads of {topic.agency} were found, and {receipts}"
        terminal.note(f"  witnesses: {what}; newer messages may be missing")
    if audit.verdict.compared is not None:
        against = audit.copies.against
        leaves = counted(audit.verdict.compared, "leaf", "leaves")
        terminal.note(f"  compared with {against}: {leaves}")


def _check_notes(folder: Path, topics: list[Topic], *, force: bool) -> None:
    """Refuse, before the topics are read, what their notes would write over."""
    if folder.exists() and not folder.is_dir():
        raise errors.OutputRefused(str(folder), "it is no folder", "name another one")
    for topic in topics if not force else ():
        for there in folder.glob(f"{topic.name}.*.txt"):
            raise errors.OutputExists(str(there))


def _keep_notes(folder: Path, topics: list[Topic], audits: list[Audit], *, force: bool) -> None:
    """Write the signed notes into a folder, for other people's tools.

    Raises:
        OutputRefused: the folder does not take them.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as why:
        raise errors.OutputRefused(str(why.filename), str(why.strerror)) from None
    for topic, audit in zip(topics, audits, strict=True):
        for name, note in audit.notes().items():
            path = folder / f"{topic.name}.{name}.txt"
            with OutputFile.open(path, force=force, mode=AS_USUAL) as target:
                target.write(note.encode())


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
