"""`sinergi rebuild`: the rows of a projection that differ from the events, and put them right."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sinergi.cli import root, row_differences, terminal
from sinergi.cli.decisions import decision
from sinergi.cli.journaled_run import AuditRequest, journaled
from sinergi.cli.native_output import logged_native_output
from sinergi.cli.options import Force, FromArchive, Limit, Why, json_option
from sinergi.cli.reading_place import reading_place
from sinergi.cli.replay_progress import series_progress
from sinergi.cli.row_differences import DifferencesFile, ShowValues, ValueDisplay
from sinergi.exit_status import ExitStatus
from sinergi.settings.model import BusRole
from sinergi_consumers.audit.audit import Audit, Copies
from sinergi_consumers.audit.rebuild import Rebuild
from sinergi_consumers.audit.series import AuditSeries
from sinergi_consumers.bus import Bus
from sinergi_consumers.projections.projection import projections_of
from sinergi_consumers.sinks.postgresql import rights
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.files.output_file import OutputFile
from sinergi_schemas.near_names import did_you_mean
from sinergi_schemas.plain_text import counted, some
from sinergi_schemas.postgresql import Database
from sinergi_schemas.postgresql.rights import RIGHT_MISSING, ObjectKind, missing
from sinergi_schemas.timeouts import DatabaseTimeouts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from sinergi.cli.reading_place import ReadingPlace
    from sinergi_schemas.postgresql.rights import DatabaseObject

_FEW = 20
# Until the differences are applied it holds no lock that others wait for.
_TIMEOUTS = DatabaseTimeouts(lock=30.0, idle=600.0)
_WHY = "sinergi rebuild --apply"
_IS_THERE = """
    SELECT FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relname = %s
"""


def rebuild(
    projection: Annotated[
        str,
        typer.Argument(
            metavar="PROJECTION",
            help="Its name, as transfer or transfer_history.",
            show_default=False,
        ),
    ],
    apply: Annotated[
        bool, typer.Option("--apply", help="Apply the differences, in one transaction.")
    ] = False,
    why: Why = None,
    show_values: ShowValues = False,
    to_file: DifferencesFile = None,
    force: Force = False,
    limit: Limit = _FEW,
    archive: FromArchive = None,
    as_json: Annotated[
        bool, json_option("What differs as one JSON document, with the first differences.")
    ] = False,
) -> None:
    """Compare the tables of a projection with the topics row by row; with --apply put them right.

    Its rows are made anew from the verified events, in temporary tables beside the tables, with the
    code of the materialiser. Without --apply nothing is changed. With it, rows are inserted,
    updated and deleted in one transaction, while a materialiser waits and readers read; views,
    grants, foreign keys and triggers stay, and no other projection is touched. Events of quarantine
    that become rows are recorded as retried.

    An archive that is read in place of the brokers needs every leaf that the tables have.

    --apply needs the rights of the tables' owner: it logs in as consumer.owner_database says. The
    comparison needs those of `sinergi verify`.

    Exit status: 0 nothing differs, or it was applied; 1 rows differ; 2 it could not be done.

    Examples:
      sinergi rebuild transfer --out differences.ndjson
      sinergi rebuild transfer --apply --why "edited by hand on 3 March, ticket 17"
    """
    if to_file is not None:
        OutputFile.check(to_file, force=force)
        if as_json and OutputFile.is_standard_output(to_file):
            raise errors.RebuildRefused(projection, row_differences.BOTH)
    decided = decision(_WHY if why is None else why)
    settings, catalog = root.reader_settings("rebuild"), Catalog.shipped()
    place = reading_place(settings, settings.agreements(), archive)
    task = _rebuild(place, catalog, projection)
    request = AuditRequest("rebuild", why, {"projection": projection, "apply": apply})
    read = [each.topic for each in task.series.audits]
    with journaled(place, read, request) as run:
        run.audits = task.series.audits
        url = settings.owner_database(BusRole.CONSUMER) if apply else settings.consumer_database
        needed = None if apply else rights.verifier([task.projection])
        with (
            ExitStack() as output,  # it gets its name after the report
            closing(Database(url, "sinergi rebuild", _TIMEOUTS, needed=needed)) as database,
        ):
            with database.serving() if apply else database.scratch() as connection:
                if apply:
                    _check_rights(connection, task)
                with logged_native_output(), series_progress(task.series) as progressed:
                    task.find(connection, progressed, is_locking=apply)
                display = ValueDisplay.of(task.results, catalog, with_protected=show_values)
                if to_file is not None:
                    target = output.enter_context(OutputFile.open(to_file, force=force))
                    found = row_differences.differences(connection, task.results)
                    row_differences.write(target, found, display)
                first = list(row_differences.differences(connection, task.results, limit))
                if apply:
                    task.apply(connection, decided)
            run.counts |= _counts(task, is_applied=apply)
            if as_json:
                documents = [row_differences.document(each, display) for each in first]
                terminal.show_json(_document(task, documents, is_applied=apply), str)
            else:
                row_differences.show(first, display, row_differences.count(task.results), limit)
            status = _report(task, is_applied=apply)
        row_differences.note_written(to_file, task.results)
        raise typer.Exit(status)


def _counts(task: Rebuild, *, is_applied: bool) -> dict[str, int]:
    """What was counted, for the journal."""
    counts = {"differing_rows": row_differences.count(task.results)}
    return counts | task.applied._asdict() if is_applied else counts


def _rebuild(place: ReadingPlace, catalog: Catalog, name: str) -> Rebuild:
    """What to rebuild.

    Raises:
        RebuildRefused: there is no such projection.
        NotArchived: the place is an archive without one of its topics.
    """
    settings, agreements = place.settings, place.agreements
    settings.check_party(agreements)
    topics = agreements.read_by(settings.agency)
    event_types = {each.event_type for each in topics} & {*catalog.event_types}
    known = {each.name: each for each in projections_of(catalog, event_types)}
    if name not in known:
        what = f"there is no such projection here; {did_you_mean(name, known)}"
        raise errors.RebuildRefused(name, what)
    projection = known[name]
    read = [each for each in topics if each.event_type == projection.event_type]
    begun = {*agreements.topics_since(SYSTEM.now())}
    place.check(each for each in read if each in begun)
    bus = Bus(place.receipts_source, agreements, catalog, settings.agency)
    audits = [Audit(bus, each, Copies()) for each in read]
    return Rebuild(bus, AuditSeries(audits), projection)


def _check_rights(connection: psycopg.Connection, task: Rebuild) -> None:
    """Refuse a user who may not change the tables, before the topics are read.

    Nobody has a right on a table that is not there; the comparison says so.

    Raises:
        RightMissing: it names what the user lacks.
    """
    needed = missing(connection, rights.rebuilder(task.projection).rights)
    if lacked := [each for each in needed if _is_there(connection, each.on)]:
        raise errors.RightMissing(RIGHT_MISSING, some(map(str, lacked)))


def _is_there(connection: psycopg.Connection, what: DatabaseObject) -> bool:
    """Whether an object is in the database, if it is a table."""
    found = connection.execute(_IS_THERE, (what.schema, what.name)).fetchone()
    return what.kind is not ObjectKind.TABLE or found is not None


def _report(task: Rebuild, *, is_applied: bool) -> ExitStatus:
    """Say on standard error what was found or done; the exit status."""
    name = task.projection.name
    (result,) = task.results
    differing = sum(table.differing for table in result.tables)
    undecided = sum(table.undecided for table in result.tables)
    if undecided:
        why = "a foreign key, trigger or rule may refuse them, or two partitions have the revision"
        terminal.note(f"sinergi: {counted(undecided, 'row')} left as they are: {why}")
    if missing_refusal := result.missing_refusal:
        events = counted(missing_refusal.events, "event")
        done = "put into quarantine" if is_applied else "missing in quarantine"
        terminal.note(f"sinergi: {done}: {events} that can be no row")
    is_equal = not differing and not result.missing_refusal
    if is_applied:
        inserted, updated, deleted = task.applied
        done = f"{inserted:,} inserted, {updated:,} updated, {deleted:,} deleted"
        terminal.note(f"{name}: {done}; {counted(task.retried, 'event')} of quarantine retried")
    elif is_equal:
        rows = counted(sum(table.rows for table in result.tables), "row")
        terminal.note(f"{name}: {rows} as the events give them")
    else:
        verb = "differs" if differing == 1 else "differ"
        what = f"{counted(differing, 'row')} {verb}; nothing was changed"
        terminal.note(f"{name}: {what}, --apply puts the tables right")
    if not is_applied and not is_equal:
        return ExitStatus.NEGATIVE
    return ExitStatus.ERROR if undecided else ExitStatus.SUCCESS


def _document(
    task: Rebuild, first: Sequence[dict[str, Any]], *, is_applied: bool
) -> dict[str, Any]:
    (result,) = task.results
    return {
        "projection": task.projection.name,
        "applied": task.applied._asdict() if is_applied else None,
        "retried": task.retried if is_applied else None,
        "tables": row_differences.summaries(task.results),
        "differing_rows": row_differences.count(task.results),
        "not_in_quarantine": result.missing_refusal.events if result.missing_refusal else 0,
        "differences": list(first),
    }
