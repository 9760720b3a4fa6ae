"""`sinergi publish`: the rows of a delimited file onto the bus, by a mapping file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from sinergi.cli import root
from sinergi_producers.intake.intake import Finding, Intake, Publishing, Summary, into
from sinergi_producers.intake.mapping import Mapping
from sinergi_producers.intake.refusals import RefusedLines
from sinergi_producers.outbox import Outbox
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.postgresql.engine import engine

_REFUSED = 1


def publish(
    file: Annotated[Path, typer.Argument(help="The delimited file, read as it is.")],
    mapping: Annotated[Path, typer.Option("--mapping", "-m", help="What its columns mean (TOML).")],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check everything, publish nothing.")
    ] = False,
    refused: Annotated[
        Path | None,
        typer.Option(help="Where refused lines are told; else FILE.refused.ndjson beside it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as one document.")] = False,
) -> None:
    """Publish the rows of a file by a mapping.

    Each row becomes one event, marked as history (backfill). What is refused is told by line, field
    and rule, never with what stands in the cells; the rest is published. The same file can be
    published again: what is there already is passed over.

    Exit status 0: every line is on its way; 1: some lines were refused; 2: it could not be done.

    Example: sinergi publish transfers.csv --mapping mapping.toml
    """
    told = refused or file.parent / f"{file.name}.refused.ndjson"
    _check_apart(told, file, mapping)
    meaning = Mapping.load(mapping)
    with (
        _outbox(dry_run=dry_run) as publishing,
        _bar(file) as progress,
        RefusedLines(told) as refused_lines,
    ):
        summary = Intake(meaning, publishing, refused_lines).run(file, progress)
    if as_json:
        typer.echo(json.dumps(summary.document()))
    else:
        _show(summary, dry_run=dry_run)
    if summary.unmapped:
        names = ", ".join(summary.unmapped)
        typer.echo(f"sinergi: columns that the mapping neither uses nor ignores: {names}", err=True)
    for name in summary.rounded:
        what = "nearly all numbers of 16 digits end in 0, as a spreadsheet rounds a NIK"
        remedy = "write the file anew from its source, with this column as text"
        typer.echo(f"sinergi: warning: column {name!r}: {what}; {remedy}", err=True)
    if summary.refused:
        typer.echo(f"sinergi: {summary.refused} refused lines are told in {told}", err=True)
        raise typer.Exit(_REFUSED)


def _check_apart(told: Path, *given: Path) -> None:
    """Keep the file of refused lines from replacing what it tells about."""
    if told.resolve() in {path.resolve() for path in given}:
        what = "the refused lines would replace it; name another file for them with --refused"
        raise errors.InputRefused(str(told), what)


@contextmanager
def _outbox(*, dry_run: bool) -> Iterator[Publishing | None]:
    """The way onto the bus, or none for a trial run, which needs no settings either."""
    if dry_run:
        yield None
        return
    settings = root.settings()
    outbox = Outbox(settings.agency, settings.agreements(), Catalog.shipped())
    with engine(settings.producer_database, "sinergi publish") as opened:
        yield into(outbox, opened)


@contextmanager
def _bar(file: Path) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error while it lasts; nothing where nobody watches."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    console = Console(stderr=True)
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(file.name, total=None)
        yield lambda done, size: progress.update(task, completed=done, total=size)


def _show(summary: Summary, *, dry_run: bool) -> None:
    console = Console()
    counts = {
        "lines": summary.lines,
        **({"ready": summary.ready} if dry_run else {"published": summary.published}),
        **({} if dry_run else {"already there": summary.already}),
        "refused": summary.refused,
        "warned": summary.warned,
    }
    table = Table(*counts, box=None, header_style="bold", pad_edge=False)
    table.add_row(*(f"{count:,}" for count in counts.values()))
    console.print(table)
    for title, findings in (
        ("refused", summary.refusals.findings()),
        ("warned", summary.warnings.findings()),
    ):
        if findings:
            console.print(_table(title, findings))


def _table(title: str, findings: list[Finding]) -> Table:
    table = Table(title, "column", "field", "rule", "first on lines", header_style="bold")
    for each in findings:
        first = ", ".join(map(str, each.lines))
        columns = ", ".join(each.breach.columns)
        cells = (f"{each.count:,}", columns, each.breach.field, each.breach.rule, first)
        table.add_row(*map(Text, cells))
    return table
