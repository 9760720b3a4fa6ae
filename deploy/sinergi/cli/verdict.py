"""The verdict of an audit: in words for people, as one document for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sinergi.cli import match_report, terminal
from sinergi.exit_status import ExitStatus
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.plain_text import counted, some
from sinergi_schemas.seal.heads import STALE_SECONDS
from sinergi_schemas.seal.note import parse_note
from sinergi_schemas.zones import local_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sinergi.cli.replay_options import EventChoice
    from sinergi_consumers.audit.audit import Audit
    from sinergi_consumers.audit.event_filter import ReplayFilter
    from sinergi_consumers.audit.findings import AuditFinding
    from sinergi_consumers.audit.related_records import UnreadRecords
    from sinergi_consumers.audit.replay import ReplayCounts
    from sinergi_consumers.audit.statements import SignedStatement
    from sinergi_schemas.seal.skipped import SkippedMessages

_STYLES = {True: "green", False: "bold red", None: "bold yellow"}


def exit_status(
    audits: Sequence[Audit],
    *,
    asks_for_one: bool,
    unread: Sequence[UnreadRecords] | None = None,
) -> ExitStatus:
    """SUCCESS if every topic holds, NEGATIVE if one does not or what was asked for is in none.

    ERROR if one cannot be checked: the owner has signed nothing of it, or more than can be
    compared, or it cannot be read. ERROR too if related records are in topics that were not read.

    Args:
        asks_for_one: whether a record or leaves were asked for by name, so that none is a finding.
        unread: these related records.
    """
    proved = {each.is_proved for each in audits}
    if False in proved:
        return ExitStatus.NEGATIVE
    if None in proved:
        return ExitStatus.ERROR
    if asks_for_one and not any(each.shown for each in audits):
        return ExitStatus.NEGATIVE
    return ExitStatus.ERROR if unread else ExitStatus.SUCCESS


def report(audits: Sequence[Audit], chosen: EventChoice, wanted: ReplayFilter) -> None:
    """Write to standard error what was verified, what does not hold, and last the verdict.

    Args:
        wanted: the filter of the chosen events, after the audits.
    """
    is_alone = len(audits) == 1
    if is_alone and chosen.described and not audits[0].shown:
        match_report.report(audits, wanted)
    for audit in audits:
        _report_topic(audit, record=chosen.key if is_alone else None, is_filtered=chosen.is_any)
    if is_alone:
        return
    match_report.report(audits, wanted)
    if chosen.key is not None and not any(each.shown for each in audits):
        terminal.note(f"sinergi: {_absence(audits, chosen.key)}")
    status = exit_status(audits, asks_for_one=False)
    proved = {ExitStatus.SUCCESS: True, ExitStatus.NEGATIVE: False}.get(status)
    terminal.note(f"verdict of all: {sentence_of_all(audits)}", _STYLES[proved])


def report_unread(unread: Sequence[UnreadRecords]) -> None:
    """Say on standard error how many related records lie in topics that were not read."""
    if not unread:
        return
    names = some((each.topic for each in unread), ", ")
    records = counted(sum(each.records for each in unread), "related record")
    of_what = counted(len(unread), "topic")
    was = "was" if len(unread) == 1 else "were"
    terminal.note(f"--related: {records} of {of_what} that {was} not read: {names}")


def report_partitions(audit: Audit) -> None:
    """Write to standard error what was verified of some partitions of a topic, and the verdict."""
    for each in audit.partition_counts:
        verified = counted(each.verified, "leaf", "leaves")
        under = f"verified under {audit.topic.agency}'s checkpoints"
        terminal.note(f"{audit.name}/{each.partition}: {verified} {under}")
    for line in (*_witnesses(audit), *audit.remarks):
        terminal.note(f"  {line}")
    for finding in audit.verdict.findings:
        _report_finding(f"sinergi: {finding.why}", finding)
    terminal.note(f"verdict of {sentence_of_partitions(audit)}", _STYLES[audit.is_proved])


def sentence_of_partitions(audit: Audit) -> str:
    """As `sentence`, of an audit of some partitions alone, which it names."""
    numbers = [str(each.partition) for each in audit.partition_counts]
    what = "partition" if len(numbers) == 1 else "partitions"
    return f"{what} {', '.join(numbers)}: {sentence(audit)}"


def _report_topic(audit: Audit, *, record: str | None, is_filtered: bool) -> None:
    verified = counted(sum(each.verified for each in audit.partition_counts), "leaf", "leaves")
    under = f"verified under {audit.topic.agency}'s checkpoints"
    done = match_report.stored([audit]) if audit.fills_tables else f"{audit.shown:,} shown"
    terminal.note(f"{audit.name}: {verified} {under}, {done}")
    if not audit.verdict.not_read:
        for line in (*_witnesses(audit), *audit.remarks):
            terminal.note(f"  {line}")
    for finding in audit.verdict.findings:
        _report_finding(f"sinergi: {finding.why}", finding)
    for finding in audit.verdict.other_findings:
        _report_finding(f"the other copy, {audit.copies.against}: {finding.why}", finding)
    if record is not None and not audit.shown:
        terminal.note(f"sinergi: {_absence([audit], record)}")
    elif is_filtered and not audit.shown:
        event = "event" if audit.is_proved else "verified event"
        terminal.note(f"  no {event} of {audit.name} is what was asked for")
    terminal.note(f"verdict: {sentence(audit)}", _STYLES[audit.is_proved])


def _report_finding(line: str, finding: AuditFinding) -> None:
    terminal.note(line)
    for remark in finding.remarks:
        terminal.note(f"  {remark}")


def sentence_of_all(audits: Sequence[Audit]) -> str:
    """How many of the topics hold, and which do not."""
    total = counted(len(audits), "topic")
    found = [f"{sum(each.is_proved is True for each in audits):,} of {total} are what was sealed"]
    for proved, what in ((False, "not what was sealed"), (None, "undecided")):
        if names := [each.name for each in audits if each.is_proved is proved]:
            found.append(f"{what}: {', '.join(names)}")
    return "; ".join(found)


def sentence(audit: Audit) -> str:
    """The verdict in one line. It is about the audited copy; the other copy comes after it."""
    sealed = f"what {audit.topic.agency} sealed"
    found = f"{audit.name} is {sealed}"
    if audit.is_proved is None:
        found = f"undecided whether {audit.name} is {sealed}: {audit.why_undecided}"
    elif not audit.is_proved:
        found = f"{audit.name} is not {sealed}: {counted(len(audit.verdict.findings), 'finding')}"
    if not audit.verdict.other_findings:
        return found
    first, *more = audit.verdict.other_findings
    is_not = "is not" if audit.is_proved else f"is not {sealed}"
    rest = f" (and {counted(len(more), 'more finding')})" if more else ""
    return f"{found}; the other copy, {audit.copies.against}, {is_not}: {first.summary}{rest}"


def documents(
    audits: Sequence[Audit],
    *,
    record: str | None,
    asks_for_one: bool,
    unread: Sequence[UnreadRecords] | None = None,
) -> list[dict[str, Any]]:
    """The verdict on each topic for programs.

    Args:
        record: that was asked for.
        asks_for_one: see `exit_status`.
        unread: the related records in topics that are not read, of all topics together.

    The exit status in one of several is that of the topic: a record need not be in all of them.
    """
    is_asked = asks_for_one and len(audits) == 1
    statuses = [exit_status([each], asks_for_one=is_asked) for each in audits]
    return [
        {
            **_document(each, record=record),
            "related_not_read": None if unread is None else [each._asdict() for each in unread],
            "exit_status": status,
        }
        for each, status in zip(audits, statuses, strict=True)
    ]


def _document(audit: Audit, *, record: str | None) -> dict[str, Any]:
    statements = audit.verdict.statements
    return {
        "topic": audit.topic.name,
        "read": audit.name,
        "owner": audit.topic.agency,
        "holds": audit.is_proved,
        "verdict": sentence(audit),
        "record": None
        if record is None
        else {
            "key": record,
            # That record itself, at the asked times, whether or not it meets the other conditions.
            "found": audit.of_record > 0,
            "recorded_at_other_times": [each.isoformat() for each in audit.outside_interval],
            "do_not_meet_other_conditions": audit.unmet,
        },
        "shown": audit.shown,
        "partitions": [_partition(each) for each in audit.partition_counts],
        "heads": {
            "found": statements.has_heads,
            "signed_at": _iso(statements.heads_at),
            "age_seconds": _age(statements.heads_at),
        },
        "witnesses": [_statement(each, audit) for each in statements.largest],
        "claims": [
            {"reader": each.reader, "partition": each.partition, "size": each.size}
            for each in statements.claims
        ],
        "claims_not_listed": statements.claims_beyond_limit,
        "without_receipt": statements.without_receipt,
        "missing_topics": statements.missing_topics,
        "compared": None
        if audit.copies.against is None
        else {
            "with": audit.copies.against,
            "leaves": audit.verdict.compared,
            "no_copy": audit.verdict.other_is_no_copy or None,
            "findings": [_finding(each) for each in audit.verdict.other_findings],
            "remarks": audit.verdict.missing_in_copy,
        },
        "findings": [_finding(each) for each in audit.verdict.findings],
        "remarks": audit.remarks,
        "unknown": list(audit.unknown),
    }


def _finding(finding: AuditFinding) -> dict[str, Any]:
    difference = finding.difference
    return {
        "why": finding.why,
        "partition": finding.partition,
        # The first leaf that differs from the other copy; null if it is not known.
        "leaf": None if difference is None else difference.leaf,
        "leaf_is_missing": None if difference is None else difference.is_missing,
        "remarks": list(finding.remarks),
    }


def _absence(audits: Sequence[Audit], record: str) -> str:
    """Why no event of the record that was asked for is shown."""
    outside = sorted(at for each in audits for at in each.outside_interval)
    unmet = sum(each.unmet for each in audits)
    if not outside and not unmet:
        where = audits[0].name if len(audits) == 1 else "these topics"
        is_whole = all(each.is_proved for each in audits)
        return match_report.no_record(where, record, is_whole=is_whole)
    found = []
    if unmet:
        verb = "does" if unmet == 1 else "do"
        found.append(
            f"{counted(unmet, 'event')} of the record {verb} not meet the other conditions"
        )
    if outside:
        events = counted(len(outside), "event")
        times = [each.isoformat(timespec="seconds") for each in outside]
        first, last = times[0], times[-1]
        when = f"at {first}" if first == last else f"from {first} to {last}"
        found.append(
            f"not within that time: {events} of the record, recorded {when}, outside of it"
        )
    return "; ".join(found)


def _witnesses(audit: Audit) -> list[str]:
    agency = audit.topic.agency
    statements = audit.verdict.statements
    receipts = counted(sum(each.kind == "receipt" for each in statements.largest), "receipt")
    age = _age(statements.heads_at)
    if not statements.has_heads:
        what = f"no heads of {agency} were found, and {receipts}"
        found = [f"witnesses: {what}; newer messages may be missing"]
    elif age is None or age > STALE_SECONDS:
        at = statements.heads_at
        when = "an unknown time" if at is None else local_text(at)
        what = f"{agency}'s heads of {when}, and {receipts}"
        found = [f"witnesses: {what}; messages since then may be missing"]
    else:
        when = f"signed {age:.0f} s ago"
        found = [f"witnesses: {agency}'s heads, {when}, and {receipts}"]
    if audit.verdict.compared is not None:
        leaves = counted(audit.verdict.compared, "leaf", "leaves")
        found.append(f"compared with {audit.copies.against}: {leaves}")
    return found


def _partition(tally: ReplayCounts) -> dict[str, Any]:
    return {
        "partition": tally.partition,
        "leaves": tally.verified,
        "root": tally.root.hex(),
        "signed_by": _signers(tally.note),
        "shown": tally.shown,
        "behind_the_last_checkpoint": tally.unsealed,
        "resends": tally.resends,
        "checkpoints_not_compared": tally.unmatched_beyond_limit,
        "skipped": [_skipped(each) for each in tally.skipped.causes],
        "not_of_the_contract": [_skipped(each) for each in tally.refused.causes],
        "not_agreed": [_skipped(each) for each in tally.not_agreed.causes],
    }


def _signers(note: str) -> list[str]:
    """The names of the keys under the last checkpoint, each with its id."""
    if not note:
        return []
    return [each.name_with_id for each in parse_note(note).signatures]


def _skipped(skipped: SkippedMessages) -> dict[str, Any]:
    return {
        "cause": skipped.cause,
        "count": skipped.count,
        "first_offset": skipped.first,
        "places": [{"offset": offset, "leaf": leaf} for offset, leaf in skipped.places],
    }


def _statement(statement: SignedStatement, audit: Audit) -> dict[str, Any]:
    root = audit.root(statement.partition, statement.size)
    return {
        "kind": statement.kind,
        "name": statement.name,
        "partition": statement.partition,
        "size": statement.size,
        "root": statement.root.hex(),
        "signed_at": _iso(statement.at),
        # Null if the topic has fewer leaves than that, so that there is nothing to compare.
        "agrees": None if root is None else root == statement.root,
    }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _age(at: datetime | None) -> float | None:
    return None if at is None else (SYSTEM.now() - at).total_seconds()
