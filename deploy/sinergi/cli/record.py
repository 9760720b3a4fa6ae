"""`sinergi record`: a record's life on one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sinergi.cli import (
    received,
    record_document,
    record_search,
    root,
    terminal,
    written_files,
)
from sinergi.cli.journaled_run import AuditRequest
from sinergi.cli.options import AsJson, Force, FromArchive, Why
from sinergi.cli.tables import ColumnKind, TableColumn
from sinergi.pages import rendering
from sinergi.records.own_facts import own_facts
from sinergi_consumers.audit.records.life import OwnFacts, life
from sinergi_schemas import errors
from sinergi_schemas.files.output_file import OutputFile
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from sinergi.cli.record_search import FoundRecord, RecordSearch
    from sinergi_consumers.audit.evidence.case_zone import CaseZone

_TIMELINE = (
    TableColumn("rev.", ColumnKind.NUMBER),
    TableColumn("action"),
    TableColumn("occurred"),
    TableColumn("recorded by publisher"),
    TableColumn("leaf", ColumnKind.NUMBER),
    TableColumn("checkpoint size", ColumnKind.NUMBER),
)
_SAID = (
    TableColumn("field"),
    TableColumn("value", ColumnKind.PROSE),
    TableColumn("meaning", ColumnKind.PROSE),
)
_CHANGED = (
    TableColumn("field"),
    TableColumn("before", ColumnKind.PROSE),
    TableColumn("after", ColumnKind.PROSE),
    TableColumn("meaning", ColumnKind.PROSE),
)
_RELATED = (
    TableColumn("direction"),
    TableColumn("relation"),
    *map(TableColumn, ("type", "record", "agency")),
)
_QUARANTINE = (
    TableColumn("leaf", ColumnKind.NUMBER),
    *map(TableColumn, ("projection", "state", "reason", "since")),
)


def record(
    event_type: Annotated[str, typer.Argument(metavar="TYPE", help="Event type, as transfer.")],
    record_id: Annotated[str, typer.Argument(metavar="ID", help="The record's record_id.")],
    agency: Annotated[
        str | None, typer.Option(help="The agency that publishes it, if several have this ID.")
    ] = None,
    related: Annotated[
        bool, typer.Option(help="Read all topics for the records that name this one.")
    ] = True,
    as_json: AsJson = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page for a browser and for paper."),
    ] = None,
    force: Force = False,
    why: Why = None,
    archive: FromArchive = None,
) -> None:
    """Show a record's life on one page: what each revision said, and who had it since when.

    For each revision: what it changed, field by field with the field's meaning; when it occurred,
    was recorded by the publisher's clock, and under which checkpoint it is sealed; since when each
    reader's database has had it, by the reader's signature (see `sinergi received`); and the proof
    that the checkpoint covers it. Then the related records in both directions, and the quarantine
    of our own database, if one is configured. The items of a list are counted from 1. All times are
    in one zone, which is named once; times within a value have their own offset.

    Only what is under the owner's seal is shown as such. The page of --html is one file without
    scripts, in Indonesian and English.

    Exit status: 0 shown; 1 there is no such record, or its topic is not what was sealed; 2 it could
    not be found out, or our own database could not be read, and the rest is shown.

    Example: sinergi record transfer MUT/2026/0093 --html 0093.html
    """
    if as_json and html is not None and OutputFile.is_standard_output(html):
        raise errors.RecordRefused("--json and --html would both go to standard output")
    if html is not None:
        OutputFile.check(html, force=force)
    search = record_search.RecordSearch(root.settings(), event_type, agency, archive)
    request = AuditRequest("record", why, {"event_type": event_type, "key": record_id})
    with search.journaled(request) as run:
        found = search.find(record_id, run)
        page = _page(search, found, has_searched=related) if found.record is not None else None
        record_search.report_verdict(found, record_id)
        if found.record is not None and page is not None and html is not None:
            with OutputFile.open(html, force=force) as target:
                zone = found.record.zone
                told = rendering.page(
                    "record.html.jinja", life=page, zone=zone, moment=zone.shown_text
                )
                target.write(told)
            written_files.note(html, counted(len(page["revisions"]), "revision"))
        if as_json:
            terminal.show_json(page or received.document(found, event_type, record_id))
        elif page is not None and html is None:
            _show(page, found)
        raise typer.Exit(found.exit_status)


def _page(search: RecordSearch, found: FoundRecord, *, has_searched: bool) -> dict[str, Any]:
    assert found.record is not None
    own = own_facts(search.settings, found.record) if found.report.is_complete else OwnFacts()
    relations = search.relations(found.record) if has_searched else None
    whole = life(search.agreements, found.record, found.report, own, relations)
    return record_document.document(
        whole,
        made_by=search.settings.values.agency,
        has_searched=has_searched,
        has_quarantine=own.quarantine is not None,
    )


def _show(page: dict[str, Any], found: FoundRecord) -> None:
    """Show the page on a terminal."""
    assert found.record is not None
    terminal.show_line(f"{page['event_type']} {page['record_id']} of {page['agency']}", "bold")
    terminal.show_line(page["about"])
    record_search.show_verdict(found.record)
    zone = found.record.zone
    terminal.show_line(f"times are in {zone}")
    _head("Revisions, under the owner's seal")
    terminal.show_table(_TIMELINE, [_timeline(each, zone) for each in page["revisions"]])
    _head("Who had it since when, by the readers' signatures")
    terminal.show_table(received.COLUMNS, received.rows(found.record, found.report))
    for number, each in enumerate(page["revisions"]):
        _show_revision(each, is_first=not number)
    _head("Related records")
    if page["related"]:
        terminal.show_table(_RELATED, [_related(each) for each in page["related"]])
    elif page["searched_related"]:
        terminal.show_line("none")
    if page["related_not_listed"]:
        terminal.show_line(f"and {page['related_not_listed']:,} more, which name this record")
    if not page["searched_related"]:
        terminal.show_line("Records that name this one were not searched.")
    for name, why in page["not_searched"].items():
        terminal.show_line(f"{name} could not be searched: {why}")
    if page["quarantine"]:
        _head("Quarantine of our own database, unsigned")
        terminal.show_table(_QUARANTINE, [_quarantined(each, zone) for each in page["quarantine"]])
    _head("Proofs (C2SP tlog-proof)")
    for each in page["revisions"]:
        terminal.show_line(f"revision {_number(each)}")
        terminal.show_text(each["proof"] + "\n")


def _show_revision(each: dict[str, Any], *, is_first: bool) -> None:
    _head(f"Revision {_number(each)}: {each['action'] or 'cannot be read'}")
    for what, why in (
        ("cannot be read here", each["cannot_be_read"]),
        ("not agreed", each["not_agreed"]),
    ):
        if why:
            terminal.show_line(f"{what}: {why}", "bold red")
    if each["repeats"]:
        terminal.show_line("an earlier event has the same revision, and holds", "bold red")
    shown = [
        [
            change["field"],
            *([] if is_first else [change["before"] or "–"]),
            change["after"] or "–",
            change["meaning"],
        ]
        for change in each["changes"]
    ]
    if shown:
        terminal.show_table(_SAID if is_first else _CHANGED, shown)
    elif not each["cannot_be_read"]:
        terminal.show_line("no field changed")


def _timeline(each: dict[str, Any], zone: CaseZone) -> list[str]:
    times = [zone.shown_text(each[name] or "–") for name in ("occurred_at", "recorded_at")]
    return [
        _number(each),
        each["action"] or "?",
        *times,
        f"{each['leaf']:,}",
        f"{each['sealed']['size']:,}",
    ]


def _related(each: dict[str, Any]) -> list[str]:
    direction = "names this record" if each["names_us"] else "named by this record"
    return [direction, each["relation"], each["event_type"], each["record_id"], each["agency"]]


def _quarantined(each: dict[str, Any], zone: CaseZone) -> list[str]:
    return [
        f"{each['leaf']:,}",
        *(each[name] for name in ("projection", "state", "reason")),
        zone.shown_text(each["quarantined_at"]),
    ]


def _number(each: dict[str, Any]) -> str:
    return "?" if each["revision"] is None else str(each["revision"])


def _head(text: str) -> None:
    terminal.show_line("")
    terminal.show_line(text, "bold")
