"""`sinergi received`: who had each revision of a record, and since when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sinergi.cli import record_search, root, terminal
from sinergi.cli.journaled_run import AuditRequest
from sinergi.cli.options import AsJson, FromArchive, Why
from sinergi.cli.tables import ColumnKind, TableCell, TableColumn
from sinergi_consumers.audit.records.possession import ReceiptSource

if TYPE_CHECKING:
    from datetime import datetime

    from sinergi.cli.record_search import FoundRecord
    from sinergi_consumers.audit.evidence.case_zone import CaseZone
    from sinergi_consumers.audit.records.possession import Possession, PossessionReport
    from sinergi_consumers.audit.records.reading import SealedRecord, SealedRevision

COLUMNS = (
    TableColumn("rev.", ColumnKind.NUMBER),
    TableColumn("reader"),
    TableColumn("signed by the reader"),
    TableColumn("leaves", ColumnKind.NUMBER),
    TableColumn("by key"),
    TableColumn("which receipt", ColumnKind.PROSE),
)
NOT_YET = "not yet"
NOT_ENTITLED = "not entitled"
AT_THE_LATEST = "at the latest"
# Which of the receipts of a database it is, and so how exactly it says since when.
_WHICH = {
    ReceiptSource.READER_TABLE: "its first",
    ReceiptSource.OWNER_TABLE: "first seen",
    ReceiptSource.TOPIC: AT_THE_LATEST,
}


def received(
    event_type: Annotated[str, typer.Argument(metavar="TYPE", help="Event type, as transfer.")],
    record_id: Annotated[str, typer.Argument(metavar="ID", help="The record's record_id.")],
    agency: Annotated[
        str | None, typer.Option(help="The agency that publishes it, if several have this ID.")
    ] = None,
    as_json: AsJson = False,
    why: Why = None,
    archive: FromArchive = None,
) -> None:
    """Show who had each revision of a record since when, by signed receipts.

    A receipt is the signature of a reader's database: it has all leaves below a size. The first
    one that covers a revision says since when. A reader's own database has its own (`its first`),
    and the owner's database those that its relay has seen (`first seen`). Of the others only the
    newest receipt is known (`at the latest`); so it is if our own database cannot be read now. The
    record's partition is verified, and so are all signatures. The times are those that the readers
    have signed, by their own clocks, shown in one zone.

    Exit status: 0 shown; 1 there is no such record, or its topic is not what was sealed; 2 it could
    not be found out, or our own database could not be read, and the rest is shown.

    Example: sinergi received transfer MUT/2026/0093
    """
    search = record_search.RecordSearch(root.settings(), event_type, agency, archive)
    request = AuditRequest("received", why, {"event_type": event_type, "key": record_id})
    with search.journaled(request) as run:
        found = search.find(record_id, run)
        record_search.report_verdict(found, record_id)
        if as_json:
            terminal.show_json(document(found, event_type, record_id))
        elif found.record is not None:
            record_search.show_verdict(found.record)
            terminal.show_line(f"times are in {found.record.zone}")
            terminal.show_table(COLUMNS, rows(found.record, found.report))
        raise typer.Exit(found.exit_status)


def document(found: FoundRecord, event_type: str, record_id: str) -> dict[str, Any]:
    """What was found, for programs."""
    record = found.record
    return {
        "event_type": event_type,
        "record_id": record_id,
        "agency": None if record is None else record.topic.agency,
        "exit_status": found.exit_status,
        "holds": None if record is None else record.audit.is_proved,
        "verdict": found.verdict,
        "findings": [why.why for each in found.judged for why in each.audit.verdict.findings],
        "zone": None if record is None else record.zone.name,
        "revisions": []
        if record is None
        else [_revision(found, each, record.zone) for each in record.revisions],
        "not_searched": found.unread,
        "remarks": found.report.remarks,
    }


def _revision(found: FoundRecord, revision: SealedRevision, zone: CaseZone) -> dict[str, Any]:
    event = revision.event or {}
    return {
        "revision": event.get("revision"),
        "partition": revision.tp.partition,
        "leaf": revision.leaf_index,
        "cannot_be_read": revision.unread or None,
        "receipts": [receipt_document(each, zone) for each in found.report.of(revision)],
    }


def receipt_document(possession: Possession, zone: CaseZone) -> dict[str, Any]:
    """Since when one database has had one revision, for programs.

    Args:
        zone: in which times are written.
    """
    agency, _, database = possession.reader.partition("/")
    receipt = possession.receipt
    return {
        "reader": agency,
        "database": database,
        "entitled": possession.is_entitled,
        "received": receipt is not None,
        "signed_by_reader_at": _iso(possession.signed_by_reader_at, zone),
        "at_the_latest": possession.at_the_latest,
        "size": None if receipt is None else receipt.size,
        "signer": None if receipt is None else receipt.key.name_with_id,
        "known_from": possession.source,
        "seen_by_owner_at": _iso(possession.seen_by_owner_at, zone),
        "note": None if receipt is None else receipt.note,
    }


def rows(record: SealedRecord, report: PossessionReport) -> list[list[str | TableCell]]:
    """The cells of the table, by revision and database."""
    zone = record.zone
    return [
        [str((revision.event or {}).get("revision", "?")), *_cells(each, zone)]
        for revision in record.revisions
        for each in report.of(revision)
    ]


def _cells(possession: Possession, zone: CaseZone) -> list[str | TableCell]:
    """Reader, time, size, key and source."""
    receipt, source = possession.receipt, possession.source
    at = possession.signed_by_reader_at
    if receipt is None or source is None:
        what = NOT_YET if possession.is_entitled else NOT_ENTITLED
        return [possession.reader, TableCell(what, "bold yellow"), "", "", ""]
    when = "at an unknown time" if at is None else zone.shown(at)
    which = AT_THE_LATEST if possession.at_the_latest else _WHICH[source]
    if not possession.is_entitled:
        which = f"{which}; {NOT_ENTITLED}"
    return [possession.reader, when, f"0 to {receipt.size - 1:,}", receipt.key.id.hex(), which]


def _iso(at: datetime | None, zone: CaseZone) -> str | None:
    return None if at is None else zone.local(at).isoformat()
