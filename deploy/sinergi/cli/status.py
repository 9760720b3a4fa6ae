"""`sinergi status`: show how far every topic and partition is, and what is wrong."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from sinergi.cli import bus_status, root, terminal
from sinergi.cli.options import AsJson
from sinergi.cli.tables import ColumnKind, TableColumn
from sinergi.exit_status import ExitStatus
from sinergi.status import gathering
from sinergi.status.judgement import judge, spoken
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.zones import local_text

if TYPE_CHECKING:
    from sinergi.status.facts import Facts, PublisherFacts, ReaderFacts, ReadPartition
    from sinergi.status.judgement import StatusVerdict

_STYLES = {
    ExitStatus.SUCCESS: "green",
    ExitStatus.NEGATIVE: "bold red",
    ExitStatus.ERROR: "bold yellow",
}
_UNKNOWN = "?"


def status(as_json: AsJson = False) -> None:
    """Show how far every topic and partition is, and first of all what is wrong.

    Published: sealed, sent, and the rows that wait, by topic. Received: how far each reader of a
    published topic is, by the receipts that it has signed, and since when by its own clock; for
    one record `sinergi received` says it. Read: available on the broker, materialised by the
    projection that is least far, behind by its oldest missing message. Only the ends of the topics
    are read: `sinergi materialise` and `sinergi replay` verify them. Notes say which
    agreements have ended, begin later or end within 30 days.

    With settings that name neither an agency nor a database, as the brokers' operator has them, it
    shows the brokers, the copies of each agreed topic, and the members of each reader's group.

    Exit status: 0 all is well; 1 something is missing, halted, held, in quarantine, or has waited
    for a minute, or the relay or the materialiser does not run; 2 a service is away, or the end of
    a topic does not show whether messages are missing, and the rest is shown.

    Example: sinergi status --json
    """
    settings = root.settings()
    values = settings.values
    of_agency = values.agency or values.producer.database or values.consumer.database
    if values.kafka.bootstrap and not of_agency:
        raise typer.Exit(bus_status.show(settings, as_json=as_json))
    facts = gathering.gather(settings, SYSTEM)
    verdict = judge(facts, settings.values.timeouts.status.patience)
    if as_json:
        terminal.show_json(_document(facts, verdict), default=_moment)
    else:
        _print(facts, verdict)
    raise typer.Exit(verdict.exit_status)


def _document(facts: Facts, verdict: StatusVerdict) -> dict[str, Any]:
    return {
        "agency": facts.agency,
        "at": facts.at,
        "exit_status": verdict.exit_status,
        "lines": verdict.lines,
        "away": [asdict(each) for each in verdict.away],
        "problems": [asdict(each) for each in verdict.problems],
        "remarks": verdict.remarks,
        "publishing": asdict(facts.publishing) if facts.publishing else None,
        "reading": asdict(facts.reading) if facts.reading else None,
    }


def _moment(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no part of a status")


def _print(facts: Facts, verdict: StatusVerdict) -> None:
    first, *more = verdict.lines
    terminal.show_line(f"{facts.agency}: {first}", _STYLES[verdict.exit_status])
    for each in more:
        terminal.show_line(f"  {each}")
    terminal.show_line(f"  at {local_text(facts.at)}")
    if facts.publishing:
        _show_published(facts.publishing)
    if facts.reading:
        _show_read(facts.reading)


def _show_published(side: PublisherFacts) -> None:
    lease = side.lease
    relay = f"relay {lease.holder} leads" if lease.is_held else "no relay leads"
    until = f" until {local_text(lease.expires_at)}" if lease.is_held and lease.expires_at else ""
    rows: list[tuple[str, ...]] = []
    for topic in side.topics:
        rows += (
            (topic.topic, str(each.partition), f"{each.sealed:,}", f"{each.sent:,}", "", "", "", "")
            for each in topic.partitions
        )
        rows.append(
            (
                topic.topic,
                "all",
                f"{sum(each.sealed for each in topic.partitions):,}",
                f"{sum(each.sent for each in topic.partitions):,}",
                f"{topic.unsealed:,}",
                spoken(topic.oldest_unsealed_seconds) if topic.unsealed else "",
                f"{topic.history:,}",
                f"{sum(topic.held.values()):,}",
            )
        )
    title = f"Published · {relay}{until}"
    _show_table(title, rows, "sealed", "sent", "unsealed", "oldest", "history", "held")
    _show_received(side)


def _show_received(side: PublisherFacts) -> None:
    """Show how far the readers of published topics are."""
    rows = []
    for topic in side.topics:
        sent = {each.partition: each.sent for each in topic.partitions}
        for each in topic.readers:
            received = each.size or 0
            missing = max(0, sent.get(each.partition, 0) - received)
            at = local_text(each.at) if each.at else "never"
            numbers = (_number(received), _number(missing))
            rows.append((topic.topic, str(each.partition), each.reader, *numbers, at))
    if rows:
        terminal.show_line("")
        terminal.show_line("Received · as the readers' signed receipts say", "bold")
        columns = [
            TableColumn("topic", ColumnKind.HEADING),
            TableColumn("part.", ColumnKind.NUMBER),
            TableColumn("reader"),
        ]
        columns += [
            TableColumn("received", ColumnKind.NUMBER),
            TableColumn("missing", ColumnKind.NUMBER),
            TableColumn("signed by reader"),
        ]
        terminal.show_table(columns, rows)


def _show_read(side: ReaderFacts) -> None:
    workers = _UNKNOWN if side.workers is None else f"{side.workers}"
    title = f"Read · workers in the group {side.group}: {workers}"
    rows = [
        (topic.topic, str(each.partition), *_progress(each))
        for topic in side.topics
        for each in topic.partitions
    ]
    _show_table(title, rows, "available", "materialised", "behind", "quarantine", "halted")


def _progress(partition: ReadPartition) -> tuple[str, ...]:
    return (
        _number(partition.available),
        _number(partition.lowest),
        _UNKNOWN if partition.seconds_behind is None else spoken(partition.seconds_behind),
        _number(partition.quarantined_events),
        _UNKNOWN if partition.quarantined is None else "yes" if partition.halt else "",
    )


def _show_table(title: str, rows: list[tuple[str, ...]], *numbers: str) -> None:
    terminal.show_line("")
    terminal.show_line(title, "bold")
    columns = [TableColumn("topic", ColumnKind.HEADING), TableColumn("part.", ColumnKind.NUMBER)]
    terminal.show_table(
        [*columns, *(TableColumn(each, ColumnKind.NUMBER) for each in numbers)], rows
    )


def _number(number: int | None) -> str:
    return _UNKNOWN if number is None else f"{number:,}"
