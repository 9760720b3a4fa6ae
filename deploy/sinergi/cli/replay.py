"""`sinergi replay`: read topics again from their first leaf and verify them, without effects."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from sinergi.cli import root, terminal, verdict
from sinergi.cli.native_output import logged_native_output
from sinergi.cli.options import force_option, json_option
from sinergi.cli.output import Destination, EventWriter, Output, open_writer
from sinergi.settings.model import BusRole
from sinergi_consumers.audit.audit import Audit, Copies
from sinergi_consumers.audit.replay import ReplayFilter
from sinergi_consumers.bus import Bus
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.files.output_file import AS_USUAL, OutputFile
from sinergi_schemas.files.output_folder import check_folder
from sinergi_schemas.topics import Topic, is_kafka_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from sinergi.settings.settings import Settings
    from sinergi_schemas.kafka import Connection


def replay(
    topics: Annotated[
        list[str], typer.Argument(metavar="TOPIC", help="sinergi.<agency>.<event-type>.")
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
    force: Annotated[bool, force_option("Overwrite existing files.")] = False,
    copy: Annotated[
        str | None, typer.Option(help="Read this topic instead, a copy of TOPIC.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Another copy of TOPIC, to compare with leaf by leaf.")
    ] = None,
    as_json: Annotated[
        bool,
        json_option(
            "The verdict as one JSON document, in place of the events unless --out is given."
        ),
    ] = False,
    notes: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write the signed checkpoints, heads and receipts there."
        ),
    ] = None,
) -> None:
    """Read topics again and verify them from their first leaf; only verified events are shown.

    Nothing is written to the bus or to a database. A topic is also compared with its owner's heads
    and its readers' receipts, which shows whether messages at its end are missing.

    Exit status: 0 all of it holds; 1 something does not, and what holds is shown, or there is no
    record of that --key; 2 it could not be checked.

    Examples:
      sinergi replay sinergi.lapas-banyuwangi.transfer --key P/12 --output ndjson
      sinergi replay sinergi.bnnk-banyuwangi.seizure --from 2026-03-01T00:00+07:00
    """
    names = _topics(topics, output, is_alone=copy is None and against is None)
    wanted = _wanted(since, until, key)
    copies = Copies(_copy("--copy", copy), _copy("--against", against))
    if copies.against == (copies.name or names[0].name):
        raise errors.ReplayRefused(f"{copies.against} would be compared with itself")
    settings, catalog = root.settings(), Catalog.shipped()
    agreements = settings.agreements()
    audits = [
        Audit(Bus(_connection(settings, name), agreements, catalog), name, copies) for name in names
    ]
    if notes is not None:
        _check_notes(notes, names, force=force)
    with logged_native_output():
        if as_json and to_file is None:
            _run(audits, wanted, None)
        else:
            with open_writer(Destination(output, to_file, force, for_spreadsheets)) as writer:
                _run(audits, wanted, writer)
    if notes is not None:
        _write_notes(notes, names, audits, force=force)
    is_filtered = since is not None or until is not None
    for name, audit in zip(names, audits, strict=True):
        verdict.report(name, audit, record=key, is_filtered=is_filtered)
    if as_json:
        pairs = zip(names, audits, strict=True)
        terminal.show_json([verdict.document(*each, record=key) for each in pairs])
    raise typer.Exit(verdict.worst({verdict.exit_status(each, record=key) for each in audits}))


def _topics(words: list[str], output: Output, *, is_alone: bool) -> list[Topic]:
    names = [_topic(each) for each in words]
    if len(names) > 1 and not is_alone:
        raise errors.ReplayRefused("--copy and --against go with a single TOPIC")
    if twice := [each.name for at, each in enumerate(names) if each in names[:at]]:
        raise errors.ReplayRefused(f"{twice[0]} is named twice")
    if len({each.event_type for each in names}) > 1 and output is not Output.NDJSON:
        raise errors.ReplayRefused("events of several types have no common columns; use ndjson")
    return names


def _run(audits: list[Audit], wanted: ReplayFilter, writer: EventWriter | None) -> None:
    """Audit one topic after the other; verified events go to the writer, if there is one."""
    for audit in audits:
        for events in _verifying(audit, wanted):
            if writer is not None:
                writer.add(events)


def _wanted(since: str | None, until: str | None, key: str | None) -> ReplayFilter:
    start, end = _instant("--from", since), _instant("--to", until)
    if start and end and start >= end:
        raise errors.ReplayRefused("--from is not before --to, so no event lies between")
    return ReplayFilter(start, end, key)


def _verifying(audit: Audit, wanted: ReplayFilter) -> Iterator[pl.DataFrame]:
    """The frames of an audit, with a progress bar while they come."""
    yield audit.empty_frame()
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn())
    with terminal.progress(*columns) as progress:
        task = progress.add_task("", total=None)
        for events in audit.events(wanted):
            at, end = audit.partition_counts[-1].offsets
            progress.update(task, completed=at, total=end)
            yield events


def _check_notes(folder: Path, topics: list[Topic], *, force: bool) -> None:
    """Refuse, before the topics are read, a folder whose files the notes would replace."""
    check_folder(folder, (f"{topic.name}.*.txt" for topic in topics), force=force)


def _write_notes(folder: Path, topics: list[Topic], audits: list[Audit], *, force: bool) -> None:
    """Write the signed notes into a folder, for other tools.

    Raises:
        OutputRefused: they cannot be written there.
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


def _connection(settings: Settings, topic: Topic) -> Connection:
    """How to read a topic: an agency reads its own as producer, an auditor as `[kafka]` says."""
    agency = settings.values.agency
    if agency is None:
        return settings.connection()
    return settings.connection(BusRole.PRODUCER if topic.agency == agency else BusRole.CONSUMER)


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
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise errors.ReplayRefused(f"{option} {text!r} lies outside the years 1 to 9999") from None


def _copy(option: str, name: str | None) -> str | None:
    if name is not None and not is_kafka_name(name):
        what = "write 1 to 249 letters, digits, dots, hyphens and underscores"
        raise errors.ReplayRefused(f"{option} is no name of a topic; {what}")
    return name
