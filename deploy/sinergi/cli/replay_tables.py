"""`sinergi replay --into`: a database whose tables a replay fills as a materialiser would.

With `--as-of` they are the tables that a reader's database had at a time, by its own receipts.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from datetime import UTC
from typing import TYPE_CHECKING, Any

from sinergi import migrate
from sinergi.cli import reader_receipts, table_export, terminal
from sinergi.cli.destination import Output
from sinergi.migrate import Role
from sinergi_consumers.audit.past_tables import PastTables
from sinergi_consumers.audit.replay_database import ReplayDatabase
from sinergi_consumers.audit.series import AuditSeries
from sinergi_consumers.audit.table_replay import TableTarget
from sinergi_consumers.decode.agreement_check import AgreementCheck
from sinergi_consumers.decode.decoder import Decoders
from sinergi_consumers.decode.published_schemas import PublishedSchemas
from sinergi_consumers.projections.projection import projections_of
from sinergi_consumers.sinks.postgresql.sink import PostgresqlSink
from sinergi_schemas import errors
from sinergi_schemas.files.output_file import STANDARD_OUTPUT
from sinergi_schemas.files.output_folder import check_folder
from sinergi_schemas.plain_text import some
from sinergi_schemas.postgresql.address import DatabaseAddress, is_same

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sinergi.cli.destination import Destination
    from sinergi.cli.reader_options import ReaderChoice
    from sinergi.cli.replay_scope import ReplayScope
    from sinergi.settings.settings import Settings
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.topics import Topic


def reader_of(
    of_reader: ReaderChoice, settings: Settings, agreements: Agreements, named: Sequence[Topic]
) -> str | None:
    """The agency whose tables are filled; None for those of any reader, as an auditor fills them.

    Raises:
        ReplayRefused: it may not read one of the named topics, or any topic at all.
    """
    agency = of_reader.agency or settings.values.agency
    if agency is None:
        return None
    readable = agreements.read_by(agency)
    if not readable:
        readers = sorted({one for each in agreements.topics() for one in agreements.readers(each)})
        names = some(readers, ", ")
        what = f'the agreements do not let "{agency}" read any topic; readers are {names}'
        raise errors.ReplayRefused(f"{what}: name one with --reader")
    for each in named:
        if each not in readable:
            names = some(agreements.readers(each), ", ") or "nobody"
            what = f'the agreements do not let "{agency}" read {each.name}; readers are {names}'
            raise errors.ReplayRefused(f"{what}: name one with --reader")
    return agency


def fill(
    of_reader: ReaderChoice,
    scope: ReplayScope,
    destination: Destination,
    files: ExitStack,
    run: Callable[[AuditSeries], None],
) -> AuditSeries:
    """Fill the tables of a database with the events of some topics.

    Args:
        tables: which tables; `into` is a database that is empty, or that the same replay has begun.
        scope: what is read, and for whom.
        destination: where the tables are written as files too, if it has a path.
        files: at its end these files get their names.
        run: audits all topics.

    Raises:
        ReplayRefused: the files cannot be written so.
        ReplayDatabaseRefused: it has rows of somebody else.
        ReceiptsMissing, ReceiptFalse: the receipts do not tell what the tables had.
        DatabaseAway, DatabaseBroken: it does not answer, or its user may not create schemas.
        SinergiError: see `AuditSeries.events`.
    """
    url = DatabaseAddress(of_reader.into or "", "--into")
    _check_place(url, scope.settings)
    if destination.options:
        _check_files(destination)
    with ExitStack() as stack:
        past = _past(of_reader, scope, stack)
        database = stack.enter_context(closing(ReplayDatabase(url)))
        target = _target(url, scope, database, past, stack)
        series = AuditSeries(scope.audits(target))
        run(series)
        facts = scope.facts(series, {"as_of": of_reader.as_of, "reader": of_reader.reader}, None)
        database.end(facts)
        if destination.path is not None:
            tables = table_export.exported(url, target.projections, destination, facts)
            files.enter_context(tables)
    return series


def report(series: AuditSeries, of_reader: ReaderChoice) -> None:
    """Say on standard error what is not known about tables of the past."""
    unknown = list(dict.fromkeys(line for each in series.audits for line in each.unknown))
    if unknown:
        terminal.note(f"as of {of_reader.as_of}, by the reader's clock; not known:")
        for each in unknown:
            terminal.note(f"  {each}")


def _past(of_reader: ReaderChoice, scope: ReplayScope, stack: ExitStack) -> PastTables | None:
    """What the reader's database had at the time that was asked for; None for now."""
    at = of_reader.moment
    if at is None:
        return None
    settings, agreements = scope.settings, scope.agreements
    reader = reader_receipts.named(of_reader.reader, settings, agreements)
    reading = stack.enter_context(reader_receipts.reading(reader, scope.place))
    tps = reader_receipts.partitions(scope.topics, agreements)
    check = AgreementCheck(agreements, reader.agency)
    cuts, records = reading.cuts(tps, at), reading.records
    for each in cuts.remarks:
        terminal.note(f"sinergi: {each}")
    return PastTables(cuts, records, check, records.removed_events(at) if records else ())


def _target(
    url: str,
    scope: ReplayScope,
    database: ReplayDatabase,
    past: PastTables | None,
    stack: ExitStack,
) -> TableTarget:
    """The tables, made by the migrations of a materialiser's database."""
    catalog, values = scope.catalog, scope.settings.values
    types = {each.event_type for each in scope.topics if each.event_type in catalog.event_types}
    projections = projections_of(catalog, types)
    database.begin(_document(scope, [each.name for each in projections], past))
    migrate.upgrade(url, Role.CONSUMER, projections_of(catalog, catalog.event_types))
    quota, timeouts = values.consumer.quarantine_bytes, values.timeouts.database
    sink = stack.enter_context(closing(PostgresqlSink(url, projections, quota, timeouts)))
    # Where the reader's database records which events were refused, that decides.
    is_recorded = past is not None and past.records is not None
    check = None if is_recorded else AgreementCheck(scope.agreements, scope.reader)
    published = PublishedSchemas(lambda: scope.place.receipts_source, catalog)
    decoders = Decoders(catalog, check, published)
    return TableTarget(sink, database, projections, decoders, past)


def _check_files(destination: Destination) -> None:
    """Refuse, before anything is read, what tables cannot be written to."""
    if destination.output is Output.TABLE or destination.path in (None, STANDARD_OUTPUT):
        what = "each table has a file of its own; say --output csv, ndjson or parquet"
        raise errors.ReplayRefused(f"{what}, and --out FOLDER")
    if destination.for_spreadsheets and destination.output is not Output.CSV:
        raise errors.ReplayRefused("--spreadsheet-safe goes with --output csv")
    check_folder(destination.path, (f"*.{destination.output}",), force=destination.force)


def _check_place(url: str, settings: Settings) -> None:
    """Refuse the agency's own databases, even if nothing is in them yet."""
    values = settings.values
    for name, own in (
        ("consumer.database", values.consumer.database),
        ("producer.database", values.producer.database),
    ):
        if own is not None and is_same(own, url):
            raise errors.ReplayDatabaseRefused(f"it is the one that the setting {name} names")


def _document(
    scope: ReplayScope, projections: Sequence[str], past: PastTables | None
) -> dict[str, Any]:
    """What another replay must have in common with this one, to go on with it."""
    known = sorted({each.event_type for each in scope.topics})
    return {
        "topics": [each.name for each in scope.topics],
        "copy": scope.copies.name,
        "reader": scope.reader,
        "agreements": sorted(scope.agreements.versions),
        "schemas": {
            each: scope.catalog.newest(each).fingerprint.hex()
            for each in known
            if each in scope.catalog.event_types
        },
        "projections": list(projections),
        "as_of": None if past is None else _cuts(past),
    }


def _cuts(past: PastTables) -> dict[str, Any]:
    """At which receipts the tables are cut."""
    receipts = sorted(past.cuts.receipts.items())
    return {
        "time": past.cuts.at.astimezone(UTC).isoformat(),
        "database": str(past.cuts.reader),
        "is_recorded": past.records is not None,
        "leaves": {f"{tp.topic}/{tp.partition}": each.size for tp, each in receipts},
    }
