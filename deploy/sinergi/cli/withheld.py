"""`sinergi withheld`: whether anything that was sealed between two times is missing."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Annotated

import typer

from sinergi.cli import replay_topics, root, terminal, withheld_output
from sinergi.cli.journaled_run import AuditRequest, journaled
from sinergi.cli.native_output import logged_native_output
from sinergi.cli.options import FromArchive, Limit, TopicNames, Why, json_option
from sinergi.cli.part_verdicts import STATUSES
from sinergi.cli.reading_place import reading_place
from sinergi.cli.replay_filter import check_past, interval
from sinergi.cli.replay_progress import series_progress
from sinergi.records.receipt_tables import tables_of
from sinergi_consumers.audit.audit import Audit, Copies
from sinergi_consumers.audit.interval_audit import AuditedTopic, IntervalAudit
from sinergi_consumers.audit.sealed_interval import IntervalStatements, TimeInterval
from sinergi_consumers.audit.series import AuditSeries
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.zones import find_zone

if TYPE_CHECKING:
    from sinergi.cli.reading_place import ReadingPlace
    from sinergi_schemas.topics import Topic

_FEW = 20


def withheld(
    since: Annotated[
        str,
        typer.Option("--from", metavar="TIME", help="Where the time begins, with zone offset."),
    ],
    until: Annotated[
        str, typer.Option("--to", metavar="TIME", help="Before which it ends, with zone offset.")
    ],
    topics: TopicNames = None,
    zone: Annotated[
        str, typer.Option(help="The zone in which times are shown, by its IANA name.")
    ] = "Asia/Jakarta",
    limit: Limit = _FEW,
    archive: FromArchive = None,
    as_json: Annotated[bool, json_option("All of it as one JSON document.")] = False,
    why: Why = None,
) -> None:
    """Show that nothing which was sealed between two times is missing, and what that proves.

    Each partition is enclosed by two statements about its tree: the last one that was signed before
    --from (the owner's heads, or a reader's receipt with the owner's signature) and the owner's
    first heads from --to on. Both are compared with the verified topic. If they agree, exactly the
    leaves between the two sizes were sealed, and all of them are there. Receipts are also read from
    this agency's databases if the settings name them, and not with --archive.

    Events have the time at which their publisher recorded them. The command counts those of the
    interval, and names those that were sealed only after the second statement. Times for which no
    heads are known are shown with the receipts of then; they change no verdict. What this cannot
    prove stands below the tables.

    Exit status: 0 nothing is missing; 1 a topic or a statement is disproved, or leaves that a
    statement has are missing; 2 no heads were signed from --to on, or something could not be read
    or checked, and nothing is disproved.

    Example: sinergi withheld --from 2026-03-01T00:00+07:00 --to 2026-04-01T00:00+07:00
    """
    times = _interval(since, until)
    if find_zone(zone) is None:
        raise errors.VerificationRefused(f"--zone {zone!r} is no zone; write Asia/Jakarta")
    names = replay_topics.parsed(topics or [], has_copies=False)
    settings, catalog = root.settings(), Catalog.shipped()
    place = reading_place(settings, settings.agreements(), archive)
    chosen = replay_topics.chosen(place, names, [], [])
    audited = [_audited(place, catalog, each, times) for each in chosen]
    series = AuditSeries([each.audit for each in audited])
    found = IntervalAudit(audited, series, limit)
    asked_for = {"topics": [each.name for each in names], "from": since, "to": until}
    with journaled(place, chosen, AuditRequest("withheld", why, asked_for)) as run:
        run.audits = series.audits
        with logged_native_output(), series_progress(series) as progressed:
            found.run(progressed)
        run.verdict = withheld_output.sentence(found)
        if as_json:
            terminal.show_json(withheld_output.document(found, times, zone))
        else:
            withheld_output.show(found, zone)
        withheld_output.report(found)
        raise typer.Exit(STATUSES[found.proof])


def _interval(since: str, until: str) -> TimeInterval:
    """The times between which leaves were sealed.

    Raises:
        ReplayRefused: one is no time, they are not in order, or the interval has not ended.
        VerificationRefused: one is missing.
    """
    start, end = interval("--from", since, "--to", until)
    if start is None or end is None:
        raise errors.VerificationRefused("say both --from and --to")
    check_past("--to", until, end)
    return TimeInterval(start.astimezone(UTC), end.astimezone(UTC))


def _audited(
    place: ReadingPlace, catalog: Catalog, topic: Topic, times: TimeInterval
) -> AuditedTopic:
    """The audit of one topic, with the receipts that these settings let us read."""
    bus = place.bus(topic, catalog)
    statements = IntervalStatements(times, SYSTEM.now)
    # An archive is older than the databases, which may have receipts of leaves that it lacks.
    tables = () if place.archive is not None else (*tables_of(place.settings, topic),)
    audit = Audit(bus, topic, Copies(), observer=statements)
    return AuditedTopic(audit, bus, statements, tables)
