"""`sinergi replay`: read topics again from their first leaf and verify them, without effects."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sinergi.cli import (
    reader_receipts,
    replay_tables,
    replay_topics,
    root,
    terminal,
    verdict,
    written_files,
)
from sinergi.cli.copy_options import CopyChoice, choosing_copies
from sinergi.cli.destination import Destination, Output
from sinergi.cli.journaled_run import AuditRequest, JournaledRun, journaled
from sinergi.cli.native_output import logged_native_output
from sinergi.cli.option_sets import given
from sinergi.cli.options import (
    FromArchive,
    TopicAgencies,
    TopicNames,
    TopicTypes,
    Why,
    WithRelated,
    force_option,
    json_option,
)
from sinergi.cli.output import EventWriter, open_writer
from sinergi.cli.reader_options import ReaderChoice, choosing_reader
from sinergi.cli.reading_place import reading_place
from sinergi.cli.replay_filter import filter_of
from sinergi.cli.replay_options import EventChoice, choosing_events
from sinergi.cli.replay_progress import run_series
from sinergi.cli.replay_scope import ReplayScope
from sinergi_consumers.audit.event_filter import SimilarNameCondition
from sinergi_consumers.audit.series import AuditSeries
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.files.output_file import AS_USUAL, OutputFile
from sinergi_schemas.files.output_folder import check_folder, make_folder
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinergi_consumers.audit.audit import Audit
    from sinergi_consumers.audit.event_filter import ReplayFilter
    from sinergi_schemas.topics import Topic


@choosing_events
@choosing_reader
@choosing_copies
def replay(
    topics: TopicNames = None,
    agency: TopicAgencies = None,
    event_type: TopicTypes = None,
    chosen: EventChoice = EventChoice(),
    of_reader: ReaderChoice = ReaderChoice(),
    related: WithRelated = False,
    output: Annotated[Output, typer.Option(help="How to write the events.")] = Output.TABLE,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Write to this file, or to files in this folder (a/), in place of stdout.",
        ),
    ] = None,
    for_spreadsheets: Annotated[
        bool,
        typer.Option(
            "--spreadsheet-safe",
            help="In CSV put ' before a text that a spreadsheet would take for a formula.",
        ),
    ] = False,
    force: Annotated[bool, force_option("Overwrite existing files.")] = False,
    of_copies: CopyChoice = CopyChoice(),
    archive: FromArchive = None,
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
    why: Why = None,
) -> None:
    """Read topics again and verify them from their first leaf; only verified events are shown.

    Without a TOPIC it reads all that the agreements let you read. An event must meet all conditions
    that are given. Nothing is written to the bus. A topic is also compared with its owner's heads
    and its readers' receipts, which shows whether messages at its end are missing.

    A file is written whole or not at all, and has its name only after the verdict: a replay that
    is broken off is repeated from the first leaf. --into goes on instead, and with --out FOLDER
    writes files too.

    With --key all leaves are verified, but only the events of that record are decoded, and so
    only they are compared with schema and agreement.

    With --into the events become rows of an empty database, with the same tables, projections and
    quarantine as in a reader's own, so that the two can be compared row by row. It takes every
    event. Repeated, it goes on where it was broken off; no other replay may write to that database.
    --as-of makes the tables that the reader's database had at that time, by its own receipts, and
    says what it does not know. Receipts and quarantine of then are read from that database if the
    settings name it, else receipts from its receipts topic, which may not tell enough. With --out
    FOLDER each table is also written to a file.

    --against-archive shows whether the brokers still have the leaves of an earlier archive. The
    verdict is about the brokers' topic, as with --against; the archive may have fewer leaves.

    --arrived-from and --arrived-to are about the time when an event was first in the database of
    --reader, by that database's receipts and clock. All other times are its publisher's.

    Parquet holds in its metadata, under the key `sinergi`, what was asked for, the agreements, and
    the verdict of each topic with its roots and signers. CSV and Parquet of several event types
    need a folder, and write a file for each; so does every --out that ends with /.

    Exit status: 0 all of it holds; 1 something does not, and what holds is shown, or
    nothing of that --key or --leaf is shown; 2 it could not be checked, or not all of it, or with
    --related some related records lie in topics that were not read.

    Examples:
      sinergi replay sinergi.lapas-banyuwangi.transfer --key P/12 --output ndjson
      sinergi replay --case BP/3/III/2026 --related --output ndjson
      sinergi replay --type seizure --region 35.10 --output parquet --out seizures.parquet
      sinergi replay --reader bnnk-banyuwangi --into postgresql://auditor@localhost/replayed
      sinergi replay --as-of 2026-03-03T17:00+07:00 --into postgresql://auditor@localhost/then
    """
    wanted = filter_of(chosen)
    names = replay_topics.parsed(topics or [], has_copies=of_copies.is_given)
    of_copies.check(names, archive)
    destination = Destination.of(out, output, force=force, for_spreadsheets=for_spreadsheets)
    if as_json and destination.path and OutputFile.is_standard_output(destination.path):
        what = "--json and the events would both go to standard output"
        raise errors.ReplayRefused(f"{what}; say --out FILE, or leave --out away")
    arrival = of_reader.arrival
    others = [*given(chosen), *(["--related"] if related else [])]
    of_reader.check(others)
    settings, catalog = root.settings(), Catalog.shipped()
    agreements = settings.agreements()
    reader = None
    if of_reader.fills or arrival:
        reader = replay_tables.reader_of(of_reader, settings, agreements, names)
    place = reading_place(settings, agreements, archive)
    names = replay_topics.chosen(place, names, agency or [], event_type or [], reader)
    copies, described = of_copies.copies(settings, agreements, names)
    asked_for = {**chosen.described, **of_reader.described, "related": related}
    request = AuditRequest("replay", why, asked_for | described)
    with journaled(place, names, request) as run:
        if arrival:
            database = reader_receipts.named(of_reader.reader, settings, agreements)
            condition = reader_receipts.arrival(arrival, database, place, names)
            wanted = replace(wanted, conditions=(*wanted.conditions, condition))
        if notes is not None:
            _check_notes(notes, names, force=force)
        scope = ReplayScope(place, catalog, names, copies, reader)
        with ExitStack() as files:  # they get their names after the verdict
            with logged_native_output():
                if of_reader.fills:
                    series = replay_tables.fill(
                        of_reader,
                        scope,
                        destination,
                        files,
                        lambda all_: _run(all_, wanted, None, run),
                    )
                elif as_json and destination.path is None:
                    series = AuditSeries(scope.audits(), follows_related=related)
                    _run(series, wanted, None, run)
                else:
                    series = AuditSeries(scope.audits(), follows_related=related)
                    writer = files.enter_context(open_writer(destination, series.event_types))
                    _run(series, wanted, writer, run)
                    writer.finish(scope.facts(series, asked_for, chosen.key))
            audits = series.audits
            run.verdict = verdict.sentence_of_all(audits)
            _report(series, wanted, chosen, of_reader)
            if as_json:
                _show_documents(series, chosen)
        if notes is not None:
            _write_notes(notes, audits, force=force)
        status = verdict.exit_status(audits, asks_for_one=chosen.asks_for_one, unread=series.unread)
        raise typer.Exit(status)


def _run(
    series: AuditSeries, wanted: ReplayFilter, writer: EventWriter | None, run: JournaledRun
) -> None:
    """Audit one topic after the other; verified events go to the writer, if there is one."""
    run.audits = series.audits
    if writer is not None:
        # So that a file has its columns, even without an event.
        for audit in series.readable:
            writer.add(audit.topic, audit.empty_frame())
    run_series(series, wanted, writer)


def _report(
    series: AuditSeries, wanted: ReplayFilter, chosen: EventChoice, of_reader: ReaderChoice
) -> None:
    """Say on standard error what was found, and last the verdict."""
    _report_spellings(wanted)
    verdict.report_unread(series.unread or [])
    replay_tables.report(series, of_reader)
    verdict.report(series.audits, chosen, wanted)


def _show_documents(series: AuditSeries, chosen: EventChoice) -> None:
    """Show the verdict of each topic as one JSON document."""
    documents = verdict.documents(
        series.audits, record=chosen.key, asks_for_one=chosen.asks_for_one, unread=series.unread
    )
    terminal.show_json(documents)


def _report_spellings(wanted: ReplayFilter) -> None:
    """Say in how many spellings a similar name was found. The names are personal data."""
    for each in wanted.conditions:
        if isinstance(each, SimilarNameCondition) and each.spellings:
            found = counted(len(each.spellings), "spelling")
            terminal.note(f"--name-like found {found}: not every one need be the same person")


def _check_notes(folder: Path, topics: Sequence[Topic], *, force: bool) -> None:
    """Refuse, before the topics are read, a folder whose files the notes would replace."""
    check_folder(folder, (f"{topic.name}.*.txt" for topic in topics), force=force)


def _write_notes(folder: Path, audits: Sequence[Audit], *, force: bool) -> None:
    """Write the signed notes into a folder, for other tools.

    Raises:
        OutputRefused: they cannot be written there.
    """
    make_folder(folder)
    for audit in audits:
        for name, note in audit.notes().items():
            path = folder / f"{audit.topic.name}.{name}.txt"
            with OutputFile.open(path, force=force, mode=AS_USUAL) as target:
                target.write(note.encode())
    written_files.note_folder(folder, counted(sum(len(each.notes()) for each in audits), "note"))
