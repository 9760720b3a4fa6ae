"""What an audit between two times has found: as tables for people, as one document for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sinergi.cli import terminal, verdict
from sinergi.cli.part_verdicts import STYLES
from sinergi.cli.tables import ColumnKind, TableCell, TableColumn
from sinergi_consumers.audit.interval_events import IntervalEvents
from sinergi_consumers.audit.statements import HEADS
from sinergi_consumers.audit.verified_parts import PartVerdict
from sinergi_schemas.plain_text import counted
from sinergi_schemas.zones import in_zone, local_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sinergi_consumers.audit.interval_audit import AuditedTopic, IntervalAudit
    from sinergi_consumers.audit.sealed_interval import HeadsGap, TimeInterval
    from sinergi_consumers.audit.statements import SignedStatement
    from sinergi_consumers.audit.verified_parts import VerifiedPart

NOT_PROVED = (
    "an event that an agency never committed to its outbox; see `sinergi reconcile`",
    "an event that it committed, and had not sealed and sent by the second statement",
    "another history that was shown to others, unless their receipts are among those compared",
)
_WORDS = {PartVerdict.PROVED: "nothing missing"}
_LATE_STYLE = "bold yellow"
_TOPIC, _PARTITION = TableColumn("topic", ColumnKind.HEADING), TableColumn("part.")
_STATEMENTS = (
    _TOPIC,
    _PARTITION,
    TableColumn("statement"),
    TableColumn("signed by"),
    TableColumn("kind"),
    TableColumn("signed at"),
    TableColumn("leaves", ColumnKind.NUMBER),
)
_EVENTS = (
    _TOPIC,
    _PARTITION,
    TableColumn("leaves between"),
    TableColumn("recorded", ColumnKind.NUMBER),
    TableColumn("early", ColumnKind.NUMBER),
    TableColumn("late", ColumnKind.NUMBER),
    TableColumn("other", ColumnKind.NUMBER),
    TableColumn("verdict"),
)
_LEGEND = (
    "recorded: events that their publisher recorded in this time, by its own clock",
    "early, late: of these, sealed by the first statement already, or not by the second one yet",
    "other: leaves between the statements that were recorded at another time",
)
_LATE = (
    _TOPIC,
    TableColumn("leaf"),
    TableColumn("event_id"),
    TableColumn("recorded at"),
    TableColumn("not sealed by"),
)
_GAPS = (
    _TOPIC,
    TableColumn("no heads from"),
    TableColumn("to"),
    TableColumn("receipts of then", ColumnKind.PROSE),
)


def show(found: IntervalAudit, zone: str) -> None:
    """Write the tables to standard output, and what all of it cannot prove."""
    clocks = "those of heads by the owner's clock, of receipts by the reader's"
    terminal.show_line(f"times are in {zone}; {clocks}")
    shown = [each for each in found.topics if not each.audit.verdict.not_read]
    terminal.show_line("")
    terminal.show_table(_STATEMENTS, [row for each in shown for row in _statements(each, zone)])
    terminal.show_line("")
    terminal.show_table(_EVENTS, [row for each in shown for row in _events(each)])
    for line in _LEGEND:
        terminal.show_line(f"  {line}")
    if late := [row for each in shown for row in _late(each, zone)][: found.limit]:
        terminal.show_line("")
        terminal.show_table(_LATE, late)
        terminal.show_line(f"  {_late_count(found):,} late in all, {len(late):,} shown")
    if gaps := [row for each in shown for row in _gaps(each, zone)]:
        terminal.show_line("")
        terminal.show_table(_GAPS, gaps)
    terminal.show_line("")
    terminal.show_line("This does not show:")
    for line in NOT_PROVED:
        terminal.show_line(f"  - {line}")


def _statements(topic: AuditedTopic, zone: str) -> Iterator[list[str | TableCell]]:
    for counts in topic.audit.partition_counts:
        number = counts.partition
        ends = topic.statements.first(number), topic.statements.second(number)
        for which, each in zip(("first", "second"), ends, strict=True):
            place = [topic.audit.topic.name, str(number), which]
            if each is not None:
                at = _local(each.at, zone)
                yield [*place, _signer(each), each.kind, at, f"{each.size:,}"]
            elif which == "first":
                yield [*place, "none: from leaf 0", "", "", "0"]
            else:
                yield [*place, TableCell("none", STYLES[PartVerdict.UNCHECKED]), "", "", ""]


def _events(topic: AuditedTopic) -> Iterator[list[str | TableCell]]:
    proofs = {each.subject: each.proof for each in topic.parts()}
    for number, events in _by_partition(topic):
        name = topic.audit.topic.name
        proof = proofs[f"{name}/{number}"]
        known = events.leaves is not None
        yield [
            name,
            str(number),
            _range(events.leaves),
            f"{events.recorded:,}",
            f"{events.early:,}" if known else "?",
            TableCell(f"{events.late:,}" if known else "?", _LATE_STYLE if events.late else ""),
            f"{events.outside:,}" if known else "?",
            TableCell(_WORDS.get(proof, str(proof)), STYLES[proof]),
        ]


def _late(topic: AuditedTopic, zone: str) -> Iterator[list[str | TableCell]]:
    for number, events in _by_partition(topic):
        second = topic.statements.second(number)
        for each in events.first_late:
            yield [
                topic.audit.topic.name,
                f"{number}/{each.leaf_index}",
                each.event_id,
                _local(each.recorded_at, zone),
                _local(None if second is None else second.at, zone),
            ]


def _gaps(topic: AuditedTopic, zone: str) -> Iterator[list[str | TableCell]]:
    for gap, receipts in topic.bridges.items():
        by_signer: dict[str, list[SignedStatement]] = {}
        for each in receipts:
            by_signer.setdefault(_signer(each), []).append(each)
        those = "; ".join(_receipts(name, signed, zone) for name, signed in by_signer.items())
        yield [topic.audit.topic.name, *_edges(gap, zone), those or "none"]


def _receipts(name: str, signed: list[SignedStatement], zone: str) -> str:
    """The receipts of one database, of which it signed the last at a time."""
    last = max(each.at for each in signed if each.at is not None)
    sizes = (
        f"{counted(each.size, 'leaf', 'leaves')} of partition {each.partition}" for each in signed
    )
    return f"{name}, until {_local(last, zone)}: {', '.join(sizes)}"


def _edges(gap: HeadsGap, zone: str) -> tuple[str, str]:
    return (
        "none known before" if gap.after is None else _local(gap.after, zone),
        "none since" if gap.before is None else _local(gap.before, zone),
    )


def report(found: IntervalAudit) -> None:
    """Say on standard error what was verified and noticed, and last the verdict."""
    for topic in found.topics:
        if not topic.audit.verdict.not_read:
            verdict.report_partitions(topic.audit)
        for remark in _remarks(topic):
            terminal.note(f"  {remark}")
    for each in found.parts:
        if each.detail and each.proof is not PartVerdict.PROVED:
            terminal.note(f"sinergi: {each.subject}: {each.proof}: {each.detail}")
    terminal.note(f"verdict: {sentence(found)}", STYLES[found.proof])


def _remarks(topic: AuditedTopic) -> Iterator[str]:
    """What was noticed about the statements of a topic."""
    statements, owner = topic.statements, topic.audit.topic.agency
    since, latest = statements.heads_since, statements.latest_heads
    if since is not None and latest is not None:
        what = f"heads of {owner} are known from {local_text(since)} to {local_text(latest)}"
        yield f"{what}; earlier ones may have been compacted"
    for each in statements.ahead.values():
        yield f"{each} is dated later than the clock here, and encloses nothing"
    if (more := topic.gap_count - len(topic.bridges)) > 0:
        yield f"{counted(more, 'shorter gap')} between heads"
    unread = sum(each.unread for each in topic.events.values())
    if unread:
        yield f"{counted(unread, 'leaf', 'leaves')} cannot be decoded, so their time is unknown"
    yield from dict.fromkeys(topic.remarks)


def sentence(found: IntervalAudit) -> str:
    """The verdict in one line."""
    parts = [each for each in found.parts if each.part == "partition"]
    proved = sum(each.proof is PartVerdict.PROVED for each in parts)
    total = counted(len(parts), "partition")
    late = _late_count(found)
    told = f"nothing that was sealed between the statements is missing in {proved:,} of {total}"
    texts = [told if proved else f"nothing is proved of {total}"]
    if late:
        texts.append(f"{counted(late, 'event')} sealed late")
    for proof in (PartVerdict.DISPROVED, PartVerdict.UNCHECKED):
        those = dict.fromkeys(_name(each) for each in found.parts if each.proof is proof)
        texts += [f"{proof}: {', '.join(those)}"] if those else []
    return "; ".join(texts)


def _late_count(found: IntervalAudit) -> int:
    return sum(events.late for topic in found.topics for events in topic.events.values())


def _name(part: VerifiedPart) -> str:
    return part.subject if part.part != "receipts" else f"receipts of {part.subject}"


def document(found: IntervalAudit, interval: TimeInterval, zone: str) -> dict[str, Any]:
    """All of it for programs."""
    return {
        "from": _iso(interval.since, zone),
        "to": _iso(interval.until, zone),
        "zone": zone,
        "proved": found.proof.is_proved,
        "verdict": sentence(found),
        "parts": [
            {"part": each.part, "of": each.subject, "verdict": each.proof, "why": each.detail}
            for each in found.parts
        ],
        "topics": [_topic(each, zone) for each in found.topics],
        "not_proved": list(NOT_PROVED),
    }


def _topic(topic: AuditedTopic, zone: str) -> dict[str, Any]:
    statements = topic.statements
    return {
        "topic": topic.audit.topic.name,
        "not_read": topic.audit.verdict.not_read or None,
        "holds": topic.audit.is_proved,
        "findings": [each.why for each in topic.audit.verdict.findings],
        "heads_known_from": _iso(statements.heads_since, zone),
        "heads_known_to": _iso(statements.latest_heads, zone),
        "gap_count": topic.gap_count,
        "gaps": [
            {
                "after": _iso(gap.after, zone),
                "before": _iso(gap.before, zone),
                "receipts": [_statement(each, zone) for each in receipts],
            }
            for gap, receipts in topic.bridges.items()
        ],
        "partitions": [
            _partition(topic, number, events, zone) for number, events in _by_partition(topic)
        ],
        "remarks": [*topic.audit.remarks, *_remarks(topic)],
    }


def _partition(
    topic: AuditedTopic, number: int, events: IntervalEvents, zone: str
) -> dict[str, Any]:
    first, second = topic.statements.first(number), topic.statements.second(number)
    leaves = events.leaves
    return {
        "partition": number,
        "first": None if first is None else _statement(first, zone),
        "second": None if second is None else _statement(second, zone),
        "sealed_between": None if leaves is None else {"from": leaves.start, "below": leaves.stop},
        "recorded_then": events.recorded,
        "sealed_before": None if leaves is None else events.early,
        "sealed_late": None if leaves is None else events.late,
        "recorded_outside": None if leaves is None else events.outside,
        "cannot_be_decoded": events.unread,
        "late": [
            {
                "leaf": each.leaf_index,
                "event_id": each.event_id,
                "recorded_at": _iso(each.recorded_at, zone),
            }
            for each in events.first_late
        ],
    }


def _statement(statement: SignedStatement, zone: str) -> dict[str, Any]:
    return {
        "kind": statement.kind,
        "name": statement.name,
        "clock": "owner" if statement.kind == HEADS else "reader",
        "signed_at": _iso(statement.at, zone),
        "partition": statement.partition,
        "size": statement.size,
        "root": statement.root.hex(),
    }


def _by_partition(topic: AuditedTopic) -> Iterator[tuple[int, IntervalEvents]]:
    """The events of each partition that was read; one without leaves has none."""
    for counts in topic.audit.partition_counts:
        number, statements = counts.partition, topic.statements
        empty = IntervalEvents(statements.interval, statements.leaves(number), 0)
        yield number, topic.events.get(number, empty)


def _signer(statement: SignedStatement) -> str:
    """The name of its key without the bus."""
    return statement.name.partition("/")[2]


def _range(leaves: range | None) -> str:
    if leaves is None:
        return "?"
    return f"{leaves.start:,} to {leaves.stop - 1:,}" if leaves else "none"


def _local(at: datetime | None, zone: str) -> str:
    """A time in the zone that is stated once, without its offset."""
    if at is None:
        return ""
    return in_zone(at, zone).replace(tzinfo=None).isoformat(" ", "seconds")


def _iso(at: datetime | None, zone: str) -> str | None:
    return None if at is None else in_zone(at, zone).isoformat()
