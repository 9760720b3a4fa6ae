"""`sinergi publish`: publish the rows of a delimited file by a mapping file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from sinergi.cli import root, terminal
from sinergi.cli.options import force_option, json_option
from sinergi.cli.tables import ColumnKind, TableColumn
from sinergi.exit_status import ExitStatus
from sinergi_producers.sources.files.intake import (
    Intake,
    IntakeFinding,
    IntakeSummary,
    Publish,
    backfill_into,
)
from sinergi_producers.sources.files.mapping import Mapping
from sinergi_producers.sources.files.refusals import RefusedLines
from sinergi_schemas import errors
from sinergi_schemas.events import Event
from sinergi_schemas.files.input_file import matching
from sinergi_schemas.plain_text import counted, plain
from sinergi_schemas.postgresql.engine import engine

Check = Callable[[Event], None]

_FOUND = (
    TableColumn("column"),
    TableColumn("field"),
    TableColumn("rule", ColumnKind.PROSE),
    TableColumn("first on lines", ColumnKind.PROSE),
)


def publish(
    file: Annotated[Path, typer.Argument(help="The delimited file, read as it is.")],
    mapping: Annotated[Path, typer.Option("--mapping", "-m", help="What its columns mean (TOML).")],
    *,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Read and check, publish nothing."),
    ] = False,
    refused: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where refused lines are written; else FILE.refused.ndjson beside it, and nowhere"
            " in a --dry-run.",
        ),
    ] = None,
    force: Annotated[bool, force_option("Overwrite an existing file of refused lines.")] = False,
    as_json: Annotated[bool, json_option("The summary as one JSON document.")] = False,
) -> None:
    """Publish the rows of a file by a mapping.

    Each row becomes one event, marked as history (backfill). A refused line is reported by line,
    field and rule, never with the content of its cells; the others are published. The same file can
    be published again: events that are there already are skipped.

    A file in which a spreadsheet has rounded NIKs is refused. A dry run checks agreement and
    purposes where there are settings.

    Exit status 0: every line is on its way; 1: some lines were refused; 2: it could not be done.

    Example: sinergi publish transfers.csv --mapping mapping.toml
    """
    refusals = refused
    if refusals is None and not dry_run:
        refusals = file.parent / f"{file.name}.refused.ndjson"
    if refusals is not None:
        _check_no_input(refusals, file, mapping)
    loaded = Mapping.load(mapping)
    with (
        _outbox(dry_run=dry_run) as (publishing, check),
        _bar(file) as progress,
        RefusedLines(refusals, force=force) as refused_lines,
    ):
        intake = Intake(loaded, publishing, refused_lines, check)
        with _saying_how_far(intake, file, dry_run=dry_run):
            summary = intake.run(file, progress)
    if as_json:
        terminal.show_json(summary.document())
    else:
        _show(summary, dry_run=dry_run)
    if summary.unmapped:
        names = ", ".join(summary.unmapped)
        terminal.note(f"sinergi: columns that the mapping neither uses nor ignores: {names}")
    if dry_run:
        agreed = "" if check else "the agreement and its purposes (there are no settings), nor "
        terminal.note(f"sinergi: not checked: {agreed}what the database holds already")
    if summary.refused:
        where = f" in {refusals}" if refusals else "; --refused FILE lists each of them"
        terminal.note(f"sinergi: {counted(summary.refused, 'refused line')}{where}")
    if dry_run:
        intake.check_rounded(file)
    if summary.refused:
        raise typer.Exit(ExitStatus.NEGATIVE)


def _check_no_input(refusals: Path, *inputs: Path) -> None:
    """Refuse a file of refused lines that would replace a file to read."""
    if os.path.realpath(refusals) in {os.path.realpath(path) for path in inputs}:
        what = "the refused lines would replace it; name another file for them with --refused"
        raise errors.InputRefused(str(refusals), what)


@contextmanager
def _saying_how_far(intake: Intake, file: Path, *, dry_run: bool) -> Iterator[None]:
    """Say how far the file is published if Ctrl-C ends the block."""
    try:
        yield
    except KeyboardInterrupt:
        if not dry_run and intake.finished_line:
            terminal.note(
                f"sinergi: {file} is published up to line {intake.finished_line}; the same command"
                " goes on from there"
            )
        elif not dry_run:
            terminal.note(f"sinergi: nothing of {file} is known to be published; run it again")
        raise


@contextmanager
def _outbox(*, dry_run: bool) -> Iterator[tuple[Publish | None, Check | None]]:
    """The function that publishes, or in a dry run the one that checks, if there are settings."""
    settings = root.settings()
    if dry_run:
        is_set_up = settings.values.agency and _has_agreements(settings.values.agreements)
        yield None, settings.outbox().check if is_set_up else None
        return
    database = settings.producer_database
    outbox = settings.outbox()
    with engine(database, "sinergi publish") as opened:
        yield backfill_into(outbox, opened), None


def _has_agreements(folder: Path) -> bool:
    """Whether there are agreements; also if that cannot be seen, for the one who reads them."""
    try:
        return bool(matching(folder, "*.toml"))
    except FileNotFoundError:
        return False
    except OSError:
        return True


@contextmanager
def _bar(file: Path) -> Iterator[Callable[[int, int], None]]:
    """A progress bar for the block, which reports the bytes done and the size of the file."""
    name = TextColumn("{task.description}", markup=False)
    with terminal.progress(
        name, BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    ) as progress:
        task = progress.add_task(plain(file.name), total=None)
        yield lambda done, size: progress.update(task, completed=done, total=size)


def _show(summary: IntakeSummary, *, dry_run: bool) -> None:
    counts = {
        "lines": summary.lines,
        **({"ready": summary.ready} if dry_run else {"published": summary.published}),
        **({} if dry_run else {"already there": summary.already}),
        "refused": summary.refused,
        "warned": summary.warned,
    }
    columns = [TableColumn(name, ColumnKind.NUMBER) for name in counts]
    terminal.show_table(columns, [[f"{count:,}" for count in counts.values()]])
    for title, findings in (
        ("refused", summary.refusals.findings()),
        ("warned", summary.warnings.findings()),
    ):
        if findings:
            terminal.show_line("")
            terminal.show_table(
                (TableColumn(title, ColumnKind.NUMBER), *_FOUND), map(_row, findings)
            )


def _row(finding: IntakeFinding) -> list[str]:
    problem = finding.problem
    columns, first = ", ".join(problem.columns), ", ".join(map(str, finding.lines))
    return [f"{finding.count:,}", columns, problem.field, problem.rule, first]
