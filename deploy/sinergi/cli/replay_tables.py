"""`sinergi replay --into`: a database whose tables a replay fills as a materialiser would."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from sinergi import migrate
from sinergi.migrate import Role
from sinergi_consumers.audit.replay_database import ReplayDatabase
from sinergi_consumers.audit.series import AuditSeries
from sinergi_consumers.audit.table_replay import TableTarget
from sinergi_consumers.decode.agreement_check import AgreementCheck
from sinergi_consumers.decode.decoder import Decoders
from sinergi_consumers.projections.projection import projections_of
from sinergi_consumers.sinks.postgresql.sink import PostgresqlSink
from sinergi_schemas import errors
from sinergi_schemas.postgresql.address import is_same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sinergi.cli.replay_scope import ReplayScope
    from sinergi.cli.table_options import TableChoice
    from sinergi.settings.settings import Settings
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.topics import Topic


def reader_of(
    tables: TableChoice, settings: Settings, agreements: Agreements, named: Sequence[Topic]
) -> str | None:
    """The agency whose tables are filled; None for those of any reader, as an auditor fills them.

    Raises:
        ReplayRefused: it may not read one of the named topics, or any topic at all.
    """
    agency = tables.agency or settings.values.agency
    if agency is None:
        return None
    readable = agreements.read_by(agency)
    if not readable:
        readers = sorted({one for each in agreements.topics() for one in agreements.readers(each)})
        what = f"the agreements let {agency} read nothing; readers are {', '.join(readers)}"
        raise errors.ReplayRefused(f"{what}: name one with --reader")
    for each in named:
        if each not in readable:
            names = ", ".join(agreements.readers(each)) or "nobody"
            what = f"the agreements do not let {agency} read {each.name}; readers are {names}"
            raise errors.ReplayRefused(f"{what}: name one with --reader")
    return agency


def fill(url: str, scope: ReplayScope, run: Callable[[AuditSeries], None]) -> AuditSeries:
    """Fill the tables of a database with all events of some topics.

    Args:
        url: of a database that is empty, or that the same replay has begun.
        scope: what is read, and for whom.
        run: audits all topics.

    Raises:
        ReplayDatabaseRefused: it has rows of somebody else.
        DatabaseAway, DatabaseBroken: it does not answer, or its user may not create schemas.
        SinergiError: see `AuditSeries.events`.
    """
    _check_place(url, scope.settings)
    with closing(ReplayDatabase(url)) as database, _target(url, scope, database) as target:
        series = AuditSeries(scope.audits(target))
        run(series)
        database.end(scope.facts(series, {}, None))
    return series


@contextmanager
def _target(url: str, scope: ReplayScope, database: ReplayDatabase) -> Iterator[TableTarget]:
    """The tables, made by the migrations of a materialiser's database."""
    catalog, values = scope.catalog, scope.settings.values
    types = {each.event_type for each in scope.topics if each.event_type in catalog.event_types}
    projections = projections_of(catalog, types)
    database.begin(_document(scope, [each.name for each in projections]))
    migrate.upgrade(url, Role.CONSUMER, projections_of(catalog, catalog.event_types))
    quota, timeouts = values.consumer.quarantine_bytes, values.timeouts.database
    with closing(PostgresqlSink(url, projections, quota, timeouts)) as sink:
        decoders = Decoders(catalog, AgreementCheck(scope.agreements, scope.reader))
        yield TableTarget(sink, projections, decoders)


def _check_place(url: str, settings: Settings) -> None:
    """Refuse the agency's own databases, even if nothing is in them yet."""
    values = settings.values
    for name, own in (
        ("consumer.database", values.consumer.database),
        ("producer.database", values.producer.database),
    ):
        if own is not None and is_same(own, url):
            raise errors.ReplayDatabaseRefused(f"it is the one that the setting {name} names")


def _document(scope: ReplayScope, projections: Sequence[str]) -> dict[str, Any]:
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
    }
