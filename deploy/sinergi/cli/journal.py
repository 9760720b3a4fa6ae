"""`sinergi journal`: who read which topics again, when, why, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sinergi.cli import root, terminal
from sinergi.cli.options import AsJson, Limit
from sinergi.cli.replay_filter import interval
from sinergi.cli.tables import ColumnKind, TableCell, TableColumn
from sinergi_consumers.audit.journal import Journal
from sinergi_schemas.plain_text import shortened
from sinergi_schemas.zones import local_text

if TYPE_CHECKING:
    from sinergi_consumers.audit.journal import JournalEntry

_MOST = 100
_COLUMNS = (
    TableColumn("begun"),
    TableColumn("who", ColumnKind.HEADING),
    TableColumn("command"),
    TableColumn("end"),
    TableColumn("why", ColumnKind.PROSE),
    TableColumn("asked for", ColumnKind.PROSE),
)


def journal(
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Begun at or after, with zone offset."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Begun before, with zone offset.")
    ] = None,
    limit: Limit = _MOST,
    as_json: AsJson = False,
) -> None:
    """Show who read which topics again, when, why, and what came of it, the newest first.

    Each run of replay, record, received, archive create, evidence create, verify, reconcile,
    withheld and rebuild is recorded in the reader's database (consumer.database) before it reads,
    and once more when it ends. Who runs them can add rows and change none. A run with the end
    `none` still goes on, or its process was killed. Where another database user has recorded the
    end, it is `by` that user. The table shows at most 1,000 characters of a text; JSON has all of
    it, the topics with their leaves and roots, the counts and the verdict.

    It shows what was asked for as it was given, so it may hold names and NIK: keep it as the events
    themselves. If an archive was read in place of the brokers, it names the file and the digest of
    its manifest.

    Examples:
      sinergi journal
      sinergi journal --from 2026-03-01T00:00+07:00 --json
    """
    start, end = interval("--from", since, "--to", until)
    database = root.reader_settings("journal").consumer_database
    found, count = Journal(database).entries(start, end, limit)
    terminal.show_rows(_COLUMNS, found, _cells, count, as_json=as_json)


def _cells(entry: JournalEntry) -> list[str | TableCell]:
    return [
        local_text(entry.begun_at),
        shortened(f"{entry.database_user}, {entry.account}"),
        shortened(entry.command),
        _end(entry),
        shortened(entry.why or ""),
        shortened(_asked(entry.asked_for)),
    ]


def _asked(asked_for: object) -> str:
    if not isinstance(asked_for, dict):
        return str(asked_for)
    return "; ".join(f"{name}: {_shown(value)}" for name, value in asked_for.items() if value)


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _end(entry: JournalEntry) -> str | TableCell:
    if entry.outcome is None:
        return TableCell("none", "bold yellow")
    if entry.end_database_user != entry.database_user:
        return TableCell(f"by {entry.end_database_user}", "bold yellow")
    if entry.exit_status is None:
        return TableCell(entry.outcome, "bold yellow")
    return f"exit {entry.exit_status}"
