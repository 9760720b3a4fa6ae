"""`sinergi reconcile`: whether outbox, topics and databases have the same events."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sinergi.cli import (
    reconciled_sides,
    reconciliation_matrix,
    replay_topics,
    root,
    terminal,
    written_files,
)
from sinergi.cli.journaled_run import AuditRequest, journaled
from sinergi.cli.native_output import logged_native_output
from sinergi.cli.options import Force, FromArchive, Limit, TopicNames, Why, json_option
from sinergi.cli.reading_place import reading_place
from sinergi.cli.replay_progress import series_progress
from sinergi.exit_status import ExitStatus
from sinergi_consumers.audit.audit import Audit, Copies
from sinergi_consumers.audit.reconciliation import signed_counts
from sinergi_consumers.audit.reconciliation.reconciliation import Reconciliation
from sinergi_consumers.audit.reconciliation.signed_counts import DayKey, SignedCounts
from sinergi_consumers.audit.series import AuditSeries
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.files.output_file import OutputFile
from sinergi_schemas.plain_text import counted
from sinergi_schemas.topics import TopicPartition
from sinergi_schemas.zones import find_zone, local_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sinergi_consumers.audit.reconciliation.reconciliation import PlacedDiscrepancy
    from sinergi_schemas.seal.keys import SigningKey

_FEW = 20


def reconcile(
    topics: TopicNames = None,
    databases: Annotated[
        list[str] | None,
        typer.Option(
            "--database",
            metavar="AGENCY/NAME=URL",
            help="Another reader's database that may be read from here; may be repeated.",
        ),
    ] = None,
    counts: Annotated[
        list[Path] | None,
        typer.Option(
            "--counts",
            metavar="FILE",
            help="Counts that another agency has signed; may be repeated.",
        ),
    ] = None,
    counts_file: Annotated[
        Path | None,
        typer.Option(
            "--write-counts", metavar="FILE", help="Sign the counts of this agency's own sides."
        ),
    ] = None,
    zone: Annotated[
        str, typer.Option(help="The zone in which a day begins, by its IANA name.")
    ] = "Asia/Jakarta",
    every_day: Annotated[
        bool, typer.Option("--every-day", help="A row for each day, also where all is equal.")
    ] = False,
    to_file: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write all differences there, as NDJSON."),
    ] = None,
    force: Force = False,
    limit: Limit = _FEW,
    archive: FromArchive = None,
    as_json: Annotated[
        bool, json_option("The counts as one JSON document, with the first differences.")
    ] = False,
    why: Why = None,
) -> None:
    """Count the events of outbox, topics and databases by agency, type and day, and compare them.

    It compares event by event: this agency's outbox with its topics, and each topic with the
    database of this agency and with those that --database names. An event that is still on its way
    is no difference. An event in quarantine is counted apart. A difference is named with event_id
    and place. Agencies that do not open their databases to each other exchange signed counts
    (--write-counts, --counts): these show the topic and the day of a difference, and no event. The
    topics are verified as by `sinergi replay`; nothing is changed. With --archive, what a side has
    beyond the archive is not compared: the archive may be older.

    Exit status: 0 all of it is equal; 1 something is not, is held in the outbox, or a topic is not
    what was sealed; 2 something could not be read, and nothing is different.

    Examples:
      sinergi reconcile
      sinergi reconcile --database bnnk-banyuwangi/main=postgresql://auditor@db.bnnk/bnnk --json
    """
    if find_zone(zone) is None:
        raise errors.ReconciliationRefused(f"--zone {zone!r} is no zone; write Asia/Jakarta")
    names = replay_topics.parsed(topics or [], has_copies=False)
    if to_file is not None:
        OutputFile.check(to_file, force=force)
        if as_json and OutputFile.is_standard_output(to_file):
            raise errors.ReconciliationRefused("--json and --out would both go to standard output")
    settings, catalog = root.settings(), Catalog.shipped()
    agreements = settings.agreements()
    place = reading_place(settings, agreements, archive)
    chosen = replay_topics.chosen(place, names, [], [])
    sides = [*reconciled_sides.read_here(settings, agreements, catalog, databases or [])]
    signed_sides = reconciled_sides.stated(counts or [], agreements, zone)
    stated = reconciled_sides.distinguished(signed_sides, sides, settings.values.agency)
    if not (sides or stated):
        what = "neither producer.database nor consumer.database is set"
        hint = "set one, or name a database by --database, or counts by --counts"
        raise errors.ReconciliationRefused(f"{what}; {hint}")
    keys = None if counts_file is None else settings.signing_keys(agreements)
    if counts_file is not None:
        OutputFile.check(counts_file, force=force)
    buses = {each: place.bus(each, catalog) for each in chosen}
    series = AuditSeries([Audit(bus, each, Copies()) for each, bus in buses.items()])
    kept = None if to_file else limit
    found = Reconciliation(
        *(buses[chosen[0]], series, sides, stated, zone, kept),
        keeps_counts=keys is not None,
        is_archived=place.archive is not None,
    )
    compared = [*(each.name for each in sides), *(each.name for each in stated)]
    request = AuditRequest(
        "reconcile", why, {"topics": [each.name for each in names], "sides": compared}
    )
    with journaled(place, chosen, request) as run:
        run.audits = series.audits
        with logged_native_output(), series_progress(series, "reconciling") as progressed:
            found.run(progressed)
        run.counts["differences"] = found.discrepancy_count
        run.verdict = _sentence(found)
        first = found.discrepancies[:limit]
        differences = map(_line, found.discrepancies)
        signed = [] if keys is None else [_signed(found, settings.agency, keys).encode()]
        of_differences = counted(len(found.discrepancies), "difference")
        # The files get their names after the verdict.
        with (
            _written(to_file, differences, of_differences, force=force),
            _written(counts_file, signed, "the signed counts", force=force),
        ):
            if as_json:
                terminal.show_json(_document(found, first))
            else:
                reconciliation_matrix.show(found, is_every_day=every_day)
                reconciliation_matrix.show_differences(first, found.discrepancy_count)
            _report(found)
        raise typer.Exit(_status(found))


@contextmanager
def _written(
    path: Path | None, parts: Iterable[bytes], what: str, *, force: bool
) -> Iterator[None]:
    """A file that gets its name after the block; nothing without a path.

    Args:
        parts: its contents.
        what: it holds, for people.
    """
    if path is None:
        yield
        return
    with OutputFile.open(path, force=force) as target:
        for each in parts:
            target.write(each)
        target.settle()
        yield
    written_files.note(path, what)


def _signed(found: Reconciliation, agency: str, keys: Sequence[SigningKey]) -> str:
    """The counts of this agency's own sides as a signed note."""
    own = {"outbox": "outbox"}
    own |= {
        each.name: each.name.partition("/")[2]
        for each in found.sides
        if each.name.startswith(f"{agency}/")
    }
    signed = SignedCounts(
        found.bus.agreements.bus,
        agency,
        int(SYSTEM.now().timestamp()),
        found.zone,
        # Sizes without days would state that the side has no event of the topic.
        {
            (own[side], tp): size
            for (side, tp), size in found.sizes.items()
            if side in own and (side, tp.topic) in found.compared
        },
        {
            DayKey(own[side], topic, day): count
            for (side, topic, day), count in found.days.items()
            if side in own
        },
    )
    return signed_counts.sign(signed, keys)


def _status(found: Reconciliation) -> ExitStatus:
    if found.discrepancy_count or found.broken:
        return ExitStatus.NEGATIVE
    is_unchecked = found.unread or found.beyond or found.undecided
    return ExitStatus.ERROR if is_unchecked else ExitStatus.SUCCESS


def _report(found: Reconciliation) -> None:
    """Say on standard error what could not be read, and last the verdict."""
    for each in found.stated:
        terminal.note(f"{each.name}: counts of {local_text(each.counts.signed_at)}")
    for name, why in found.unread.items():
        terminal.note(f"sinergi: {name} could not be read: {why}")
    for (name, topic), count in found.beyond.items():
        leaves = counted(count, "leaf", "leaves")
        what = f"{name} has {leaves} of {topic} that the archive does not have"
        terminal.note(f"sinergi: {what}: take a newer archive, or the brokers")
    for audit in found.broken:
        for finding in audit.verdict.findings:
            terminal.note(f"sinergi: {audit.name}: {finding.why}")
        for counts in audit.partition_counts:
            tp = TopicPartition(audit.topic.name, counts.partition)
            size = max((size for (_, at), size in found.sizes.items() if at == tp), default=0)
            if size > counts.verified:
                proved = f"{tp} proves {counts.verified:,} of {counted(size, 'leaf', 'leaves')}"
                terminal.note(f"  {proved}: of the others, `not in the topic` accuses no side")
    for audit in found.undecided:
        terminal.note(f"sinergi: {audit.name} is undecided: {audit.why_undecided}")
    style = {ExitStatus.SUCCESS: "green", ExitStatus.NEGATIVE: "bold red"}.get(
        _status(found), "bold yellow"
    )
    terminal.note(f"verdict: {_sentence(found)}", style)


def _sentence(found: Reconciliation) -> str:
    """The verdict in one line."""
    on_their_way = sum(count.on_their_way for row in found.matrix for count in row.sides.values())
    sealed = counted(sum(each.sealed for each in found.matrix), "sealed event")
    what = f"{sealed}, {counted(found.discrepancy_count, 'difference')}"
    if on_their_way:
        what += f", {on_their_way:,} on their way"
    removed = sum(count.removed for row in found.matrix for count in row.sides.values())
    if removed:
        what += f", {removed:,} removed by retention"
    if found.broken:
        what += f"; not what was sealed: {', '.join(each.name for each in found.broken)}"
    beyond = (
        f"{name} beyond the archive" for name in dict.fromkeys(name for name, _ in found.beyond)
    )
    if unread := [*found.unread, *beyond, *(each.name for each in found.undecided)]:
        what += f"; not checked: {', '.join(unread)}"
    return what


def _document(found: Reconciliation, first: Sequence[PlacedDiscrepancy]) -> dict[str, Any]:
    return {
        "made_at": SYSTEM.now().isoformat(),
        "zone": found.zone,
        "equal": {ExitStatus.SUCCESS: True, ExitStatus.NEGATIVE: False}.get(_status(found)),
        "verdict": _sentence(found),
        "counts": [
            {
                "agency": each.topic.agency,
                "event_type": each.topic.event_type,
                "day": None if each.day is None else each.day.isoformat(),
                "topic": each.sealed,
                "sides": {name: count._asdict() for name, count in each.sides.items()},
            }
            for each in found.matrix
        ],
        "differences": [_difference(each) for each in first],
        "difference_count": found.discrepancy_count,
        "signed_counts": {each.name: each.counts.signed_at.isoformat() for each in found.stated},
        "not_read": dict(found.unread),
        "beyond_archive": [
            {"side": name, "topic": topic, "leaves": count}
            for (name, topic), count in found.beyond.items()
        ],
        "topics_undecided": {each.name: each.why_undecided for each in found.undecided},
        "topics_disproved": {
            each.name: [finding.why for finding in each.verdict.findings] for each in found.broken
        },
    }


def _line(placed: PlacedDiscrepancy) -> bytes:
    return json.dumps(_difference(placed)).encode() + b"\n"


def _difference(placed: PlacedDiscrepancy) -> dict[str, Any]:
    found = placed.found
    return {
        "side": placed.side,
        "what": found.state,
        "topic": placed.topic.name,
        "partition": found.partition,
        "leaf": found.leaf,
        "event_id": None if found.event_id is None else str(found.event_id),
        "day": None if found.day is None else found.day.isoformat(),
        "side_events": None if found.counts is None else found.counts[0],
        "topic_events": None if found.counts is None else found.counts[1],
    }
