"""`sinergi verify`: whether topics and a database have exactly what was published, row by row."""

from __future__ import annotations

from contextlib import ExitStack, closing
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from sinergi.cli import replay_topics, root, row_differences, terminal
from sinergi.cli.journaled_run import AuditRequest, JournaledRun, journaled
from sinergi.cli.native_output import logged_native_output
from sinergi.cli.options import Force, FromArchive, Limit, TopicNames, Why, json_option
from sinergi.cli.part_verdicts import STATUSES, STYLES
from sinergi.cli.reading_place import reading_place
from sinergi.cli.replay_progress import series_progress
from sinergi.cli.row_differences import DifferencesFile, ShowValues, ValueDisplay
from sinergi.cli.tables import ColumnKind, TableCell, TableColumn
from sinergi_consumers.audit.audit import Audit, Copies
from sinergi_consumers.audit.series import AuditSeries
from sinergi_consumers.audit.verification import Verification
from sinergi_consumers.audit.verified_parts import PartVerdict, overall
from sinergi_consumers.bus import Bus
from sinergi_consumers.projections.projection import projections_of
from sinergi_consumers.sinks.postgresql import rights
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.files.output_file import OutputFile
from sinergi_schemas.plain_text import counted, some
from sinergi_schemas.postgresql import Database
from sinergi_schemas.timeouts import DatabaseTimeouts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from sinergi.cli.reading_place import ReadingPlace
    from sinergi.exit_status import ExitStatus
    from sinergi.settings.settings import Settings
    from sinergi_consumers.audit.verified_parts import VerifiedPart
    from sinergi_schemas.topics import Topic

_FEW = 20
# It holds no lock that others wait for, and topics may take long to be read.
_TIMEOUTS = DatabaseTimeouts(lock=30.0, idle=600.0)
_COLUMNS = (
    TableColumn("in", ColumnKind.HEADING),
    TableColumn("part"),
    TableColumn("verdict"),
    TableColumn("found", ColumnKind.PROSE),
)


def verify(
    topics: TopicNames = None,
    show_values: ShowValues = False,
    to_file: DifferencesFile = None,
    force: Force = False,
    limit: Limit = _FEW,
    archive: FromArchive = None,
    as_json: Annotated[
        bool, json_option("The verdict as one JSON document, with the first differences.")
    ] = False,
    why: Why = None,
) -> None:
    """Verify that the topics and this agency's database have exactly what was published.

    It verifies the seals of the topics from their first leaf, their owners' heads, the receipts of
    all readers, the positions, and every row of every projection against the events. Topics are
    those that the agency reads, and, if producer.database is set, its own: no database of it has
    rows of these. It names the first differences, counts all, and says who could have made them.
    Nothing is changed: it writes temporary tables, and its run into the journal. A materialiser may
    run meanwhile.

    With --archive, what the database has beyond the archive counts as not checked: the archive may
    be older.

    An auditor without an agency verifies the topics that he may read, their heads and receipts: no
    database is his to check. An agency without consumer.database, or whose database does not
    answer, verifies the same, and its database counts as not checked.

    Values of protected fields are shown with --show-values only. The role in
    consumer.database_roles.auditor has the rights that it needs, and can change nothing; that of a
    materialiser has them too.

    Exit status: 0 all of it is proved; 1 something is disproved; 2 something could not be checked,
    and nothing is disproved.

    Examples:
      sinergi verify
      sinergi verify sinergi.lapas-banyuwangi.transfer --show-values --out differences.ndjson
    """
    names = replay_topics.parsed(topics or [], has_copies=False)
    if to_file is not None:
        OutputFile.check(to_file, force=force)
        if as_json and OutputFile.is_standard_output(to_file):
            raise errors.VerificationRefused(row_differences.BOTH)
    settings, catalog = root.settings(), Catalog.shipped()
    place = reading_place(settings, settings.agreements(), archive)
    absent = _why_no_database(settings)
    verification = _verification(place, catalog, names, has_database=absent is None)
    request = AuditRequest("verify", why, {"topics": [each.name for each in names]})
    read = [each.topic for each in verification.series.audits]
    with journaled(place, read, request) as run:
        run.audits = verification.series.audits
        if absent is not None:
            _verify_topics(verification, run, to_file, settings, absent, as_json=as_json)
        needed = rights.verifier(verification.projections)
        url = settings.consumer_database
        with (
            closing(Database(url, "sinergi verify", _TIMEOUTS, needed=needed)) as database,
            ExitStack() as output,  # it gets its name after the verdict
            database.scratch() as connection,
        ):
            with logged_native_output(), series_progress(verification.series) as progressed:
                verification.run(connection, progressed)
            results = verification.projection_results
            display = ValueDisplay.of(results, catalog, with_protected=show_values)
            if to_file is not None:
                target = output.enter_context(OutputFile.open(to_file, force=force))
                all_ = row_differences.differences(connection, results)
                row_differences.write(target, all_, display)
            found = row_differences.differences(connection, results, limit)
            if as_json:
                first = [row_differences.document(each, display) for each in found]
                terminal.show_json(_document(verification, first), str)
            else:
                _show_parts(verification.parts)
                row_differences.show(found, display, row_differences.count(results), limit)
            run.counts["differing_rows"] = row_differences.count(results)
            run.counts["removed_rows"] = sum(
                table.removed for each in results for table in each.tables
            )
            status = _report(verification, run)
        row_differences.note_written(to_file, results)
        raise typer.Exit(status)


def _why_no_database(settings: Settings) -> str | None:
    """Why there is no database to compare, the reader's of an agency; None if there is one."""
    if settings.values.agency is None:
        return "these settings name no agency"
    if not settings.values.consumer.database:
        return "consumer.database is not set"
    try:
        url = settings.consumer_database
        with closing(Database(url, "sinergi verify", _TIMEOUTS)) as database, database.scratch():
            return None
    except errors.DatabaseAway:
        return "the database of consumer.database does not answer"


def _verify_topics(
    verification: Verification,
    run: JournaledRun,
    to_file: Path | None,
    settings: Settings,
    why: str,
    *,
    as_json: bool,
) -> NoReturn:
    """Verify what can be verified without a database.

    Args:
        why: there is none.
    """
    is_auditor = settings.values.agency is None
    if to_file is not None:
        what = f"--out takes differing rows, and {why}; leave --out away"
        raise errors.VerificationRefused(what)
    with logged_native_output(), series_progress(verification.series) as progressed:
        verification.run_topics(progressed, None if is_auditor else why)
    if as_json:
        terminal.show_json(_document(verification, []), str)
    else:
        _show_parts(verification.parts)
    if is_auditor:
        terminal.note(f"sinergi: {why}, so there is no database of yours to check")
    raise typer.Exit(_report(verification, run))


def _verification(
    place: ReadingPlace, catalog: Catalog, names: Sequence[Topic], *, has_database: bool
) -> Verification:
    """What to verify: the topics that the agency or auditor reads, or those that are named."""
    settings, agreements = place.settings, place.agreements
    if not has_database:
        return _of_topics(place, catalog, names)
    settings.check_party(agreements)
    replay_topics.check_agreed(agreements, names)
    begun = {*agreements.topics_since(SYSTEM.now())}
    readable = [each for each in agreements.read_by(settings.agency) if each in begun]
    own = [each for each in agreements.published_by(settings.agency) if each in begun]
    for each in names:
        if each not in (*readable, *own):
            known = ", ".join(one.name for one in (*readable, *own)) or "none"
            what = f"no agreement lets {settings.agency} read {each.name}; it reads {known}"
            raise errors.VerificationRefused(what)
    chosen = list(names) or _offered(place, readable, own)
    if not chosen:
        raise errors.NothingToRead(str(settings.values.agreements), settings.agency)
    place.check(chosen)
    bus = Bus(place.receipts_source, agreements, catalog, settings.agency)
    stored = {*chosen}.intersection(readable)
    event_types = {each.event_type for each in stored} & {*catalog.event_types}
    buses = {each: bus if each in stored else place.bus(each, catalog) for each in chosen}
    return Verification(
        bus,
        AuditSeries([Audit(of_topic, each, Copies()) for each, of_topic in buses.items()]),
        projections_of(catalog, event_types),
        f"{agreements.bus}/{settings.agency}/{settings.consumer_name}",
        is_partial=len(stored) < len(readable),
        is_archived=place.archive is not None,
    )


def _offered(place: ReadingPlace, readable: Sequence[Topic], own: Sequence[Topic]) -> list[Topic]:
    """The topics to verify if none is named: those that the agency reads, and its own.

    On the brokers its own are its producer's to read. As in `sinergi status`, this is the place for
    them if it has the producer's database.
    """
    if place.archive is not None:
        return sorted({*readable, *own}.intersection(place.readable()))
    return sorted([*readable, *own] if place.settings.values.producer.database else readable)


def _of_topics(place: ReadingPlace, catalog: Catalog, names: Sequence[Topic]) -> Verification:
    """What to verify without a database: the topics that may be read here."""
    buses = {each: place.bus(each, catalog) for each in replay_topics.chosen(place, names, [], [])}
    series = AuditSeries([Audit(bus, each, Copies()) for each, bus in buses.items()])
    return Verification(next(iter(buses.values())), series, (), "", is_partial=bool(names))


def _show_parts(parts: Sequence[VerifiedPart]) -> None:
    """Show what was verified of each topic, and then of the database."""
    topics = dict.fromkeys(each.topic for each in parts if each.topic)
    order = {topic: at for at, topic in enumerate((*topics, ""))}
    shown = sorted(parts, key=lambda each: order[each.topic])
    rows: list[list[str | TableCell]] = [
        [topic or "the database", _named(same), TableCell(proof, STYLES[proof]), detail]
        for (topic, _, proof, detail), same in groupby(shown, key=_stated)
    ]
    terminal.show_table(_COLUMNS, rows)


def _stated(part: VerifiedPart) -> tuple[str, str, PartVerdict, str]:
    """What is stated of a part. Neighbours that could not be checked for one reason are one row."""
    is_checked = part.proof is not PartVerdict.UNCHECKED
    return part.topic, part.subject if is_checked else part.part, part.proof, part.detail


def _named(same: Iterable[VerifiedPart]) -> str:
    first, *others = same
    if first.of == first.topic:
        return first.part
    more = f" and {len(others):,} more" if others else ""
    return f"{first.part} of {first.of}{more}"


def _report(verification: Verification, run: JournaledRun) -> ExitStatus:
    """Say on standard error who could have done it, and last the verdict; the exit status."""
    parts = verification.parts
    run.verdict = sentence(parts)
    for each in parts:
        if each.suspects:
            terminal.note(f"sinergi: {each.part} of {each.subject}: possible for {each.suspects}")
    proof = overall(parts)
    terminal.note(f"verdict: {run.verdict}", STYLES[proof])
    return STATUSES[proof]


def sentence(parts: Sequence[VerifiedPart]) -> str:
    """The verdict in one line."""
    total = counted(len(parts), "part")
    found = [f"{sum(each.proof is PartVerdict.PROVED for each in parts):,} of {total} proved"]
    for proof in (PartVerdict.DISPROVED, PartVerdict.UNCHECKED):
        those = [f"{each.part} of {each.subject}" for each in parts if each.proof is proof]
        if those:
            found.append(f"{proof}: {some(dict.fromkeys(those), ', ')}")
    return "; ".join(found)


def _document(verification: Verification, first: Sequence[dict[str, Any]]) -> dict[str, Any]:
    parts, results = verification.parts, verification.projection_results
    return {
        "proved": overall(parts).is_proved,
        "verdict": sentence(parts),
        "parts": [
            {
                "part": each.part,
                "of": each.subject,
                "verdict": each.proof,
                "found": each.detail,
                "could_be_done_by": each.suspects or None,
            }
            for each in parts
        ],
        "tables": row_differences.summaries(results),
        "remarks": {each.name: each.remarks for each in verification.series.audits},
        "quarantine": {result.projection.name: dict(result.quarantined) for result in results},
        "differing_rows": row_differences.count(results),
        "differences": list(first),
    }
