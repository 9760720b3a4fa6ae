"""`sinergi publish`: the rows of a delimited file onto the bus, by a mapping file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from sinergi.cli import root, terminal
from sinergi.cli.tables import ColumnKind, TableColumn
from sinergi_producers.sources.files.intake import (
    Intake,
    IntakeFinding,
    IntakeSummary,
    Publish,
    into,
)
from sinergi_producers.sources.files.mapping import Mapping
from sinergi_producers.sources.files.refusals import RefusedLines
from sinergi_schemas import errors
from sinergi_schemas.plain_text import counted, plain
from sinergi_schemas.postgresql.engine import engine

_REFUSED = 1
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
        bool, typer.Option("--dry-run", help="Read and check everything, publish nothing.")
    ] = False,
    refused: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where refused lines are told; else FILE.refused.ndjson beside it, and nowhere in"
            " a --dry-run.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a file of refused lines that is there.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as one document.")] = False,
) -> None:
    """Publish the rows of a file by a mapping.

    Each row becomes one event, marked as history (backfill). What is refused is told by line, field
    and rule, never with what stands in the cells; the rest is published. The same file can be
    published again: what is there already is passed over.

    Exit status 0: every line is on its way; 1: some lines were refused; 2: it could not be done.

    Example: sinergi publish transfers.csv --mapping mapping.toml
    """
    told = refused
    if told is None and not dry_run:
        told = file.parent / f"{file.name}.refused.ndjson"
    if told is not None:
        _check_apart(told, file, mapping)
    meaning = Mapping.load(mapping)
    with (
        _outbox(dry_run=dry_run) as publishing,
        _bar(file) as progress,
        RefusedLines(told, force=force) as refused_lines,
    ):
        summary = Intake(meaning, publishing, refused_lines).run(file, progress)
    if as_json:
        terminal.show_json(summary.document())
    else:
        _show(summary, dry_run=dry_run)
    if summary.unmapped:
        names = ", ".join(summary.unmapped)
        terminal.note(f"sinergi: columns that the mapping neither uses nor ignores: {names}")
    for name in summary.rounded:
        what = "nearly all numbers of 16 digits end in 0, as a spreadsheet rounds a NIK"
        remedy = "write the file anew from its source, with this column as text"
        terminal.note(f"sinergi: warning: column {name!r}: {what}; {remedy}")
    if summary.refused:
        where = f" in {told}" if told else "; --refused FILE has each of them told"
        terminal.note(f"sinergi: {counted(summary.refused, 'refused line')}{where}")
        raise typer.Exit(_REFUSED)


def _check_apart(told: Path, *given: Path) -> None:
    """Keep the file of refused lines from replacing what it tells about."""
    if os.path.realpath(told) in {os.path.realpath(path) for path in given}:
        what = "the refused lines would replace it; name another file for them with --refused"
        raise errors.InputRefused(str(told), what)


@contextmanager
def _outbox(*, dry_run: bool) -> Iterator[Publish | None]:
    """The way onto the bus, or none for a trial run, which needs no settings either."""
    if dry_run:
        yield None
        return
    settings = root.settings()
    database = settings.producer_database
    outbox = settings.outbox()
    with engine(database, "sinergi publish") as opened:
        yield into(outbox, opened)


@contextmanager
def _bar(file: Path) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error while it lasts; nothing where nobody watches."""
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
            terminal.say("")
            terminal.show_table(
                (TableColumn(title, ColumnKind.NUMBER), *_FOUND), map(_row, findings)
            )


def _row(finding: IntakeFinding) -> list[str]:
    breach = finding.breach
    columns, first = ", ".join(breach.columns), ", ".join(map(str, finding.lines))
    return [f"{finding.count:,}", columns, breach.field, breach.rule, first]
