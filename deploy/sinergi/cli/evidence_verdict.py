"""The verdict about a bundle of evidence: in words for people, as one document for programs."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sinergi.cli import terminal
from sinergi.cli.tables import ColumnKind, TableCell, TableColumn
from sinergi.exit_status import ExitStatus
from sinergi_consumers.audit.evidence.report.search_terms import search_words
from sinergi_consumers.audit.evidence.verdict import Conclusion
from sinergi_schemas.plain_text import counted, some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi_consumers.audit.evidence.case_zone import CaseZone
    from sinergi_consumers.audit.evidence.verdict import EvidenceVerdict, ProvedEvent

_COLUMNS = (
    TableColumn("recorded by publisher"),
    TableColumn("topic", ColumnKind.HEADING),
    TableColumn("part.", ColumnKind.NUMBER),
    TableColumn("leaf", ColumnKind.NUMBER),
    TableColumn("record"),
    TableColumn("rev.", ColumnKind.NUMBER),
    TableColumn("action"),
    TableColumn("receipts, by the reader's clock", ColumnKind.PROSE),
)
_STYLES = {
    Conclusion.PROVED: "bold green",
    Conclusion.DISPROVED: "bold red",
    Conclusion.ATTESTED: "bold yellow",
    Conclusion.NOT_PROVED: "bold yellow",
}
_NO_KEY = "no key was given: give your own copy of the agreement by --agreement, or keys by --key"
_STATUSES = {True: ExitStatus.SUCCESS, False: ExitStatus.NEGATIVE, None: ExitStatus.ERROR}


def show(
    verdict: EvidenceVerdict, held: frozenset[str] | None, *, has_keys: bool, as_json: bool
) -> ExitStatus:
    """Show what was found out.

    Args:
        held: the SHA-256 of each agreement that was given; None if none was.
        has_keys: whether any key was given. Without one, no signature can be checked, and they are
            not named one by one.

    Returns:
        The exit status of the command.
    """
    zone = verdict.zone
    if as_json:
        terminal.show_json(_document(verdict, held))
    else:
        if verdict.asked_for:
            terminal.show_line(f"looked for: {search_words(verdict.asked_for).english}")
        if verdict.events:
            terminal.show_line(f"times are in {zone}")
            terminal.show_table(_COLUMNS, [_row(each, zone) for each in verdict.events])
    for line in notes(verdict):
        terminal.note(line)
    for line in _other_agreements(verdict, held):
        terminal.note(line, "bold yellow")
    for each in verdict.disproved:
        terminal.note(f"sinergi: disproved: {each}")
    if has_keys:
        for line in _unchecked(verdict):
            terminal.note(f"sinergi: not checked: {line}")
    else:
        terminal.note(f"sinergi: {_NO_KEY}", "bold yellow")
    terminal.note(f"verdict: {_sentence(verdict)}", _STYLES[verdict.conclusion])
    return _STATUSES[verdict.is_proved]


def notes(verdict: EvidenceVerdict) -> Iterator[str]:
    """Who states what, and what is proved of the trees; one per line."""
    yield f"sinergi: SHA-256 of the file: {verdict.digest}"
    if not verdict.custody:
        return
    zone, made = verdict.zone, verdict.custody
    yield f"sinergi: times below are in {zone}"
    at = zone.shown_text(made["made_at"])
    yield f"sinergi: made at {at} by {made['made_by']}, who states: {made['why']}"
    for each in verdict.trees:
        leaves = counted(each.size, "leaf", "leaves")
        heads = "no heads"
        if each.heads_time is not None:
            heads = f"heads of {zone.shown_posix(each.heads_time)} with {each.heads_size}"
        yield f"sinergi: proved: {each.name} has {leaves}; {heads}"
    if verdict.statement is not None:
        for left in verdict.statement.not_searched:
            if not left.is_failure:
                yield f"sinergi: not searched: {left}"
    yield f"sinergi: {_stated(verdict)}"


def _unchecked(verdict: EvidenceVerdict) -> Iterator[str]:
    """What could not be checked; files with the same reason share a line."""
    reasons: dict[str, list[str]] = {}
    for each in verdict.unchecked:
        reasons.setdefault(each.what, []).append(each.file)
    for what, files in reasons.items():
        more = counted(len(files) - 1, "more file")
        yield f"{files[0]} and {more}: each {what}" if len(files) > 1 else f"{files[0]} {what}"


def _other_agreements(verdict: EvidenceVerdict, held: frozenset[str] | None) -> Iterator[str]:
    """The agreements that events name, and that are not among those which were given."""
    for digest, count in _named(verdict).items():
        if held is not None and digest not in held:
            events = counted(count, "event")
            yours = some(sorted(held), ", ")
            under = f"published under the agreement with the SHA-256 {digest}"
            yield f"sinergi: {events} {under}, which you did not give; you gave {yours}"


def _named(verdict: EvidenceVerdict) -> Counter[str]:
    """How many of the events name each agreement."""
    return Counter(str(each.document.get("agreement")) for each in verdict.events)


def _stated(verdict: EvidenceVerdict) -> str:
    """What the maker states, and who has signed it."""
    what = "no other event matches" if verdict.event_count else "no event matches"
    whose = f"what was looked for, and that {what}, is stated by the maker and proved by no bundle"
    if verdict.signed_by:
        return f"{whose}; it is signed by {', '.join(verdict.signed_by)}"
    return f"{whose}; no given key has signed it"


def _sentence(verdict: EvidenceVerdict) -> str:
    events = counted(len(verdict.events), "event")
    trees = counted(len(verdict.trees), "topic-partition")
    match verdict.conclusion:
        case Conclusion.DISPROVED:
            problems = counted(len(verdict.disproved), "problem")
            return f"disproved: {problems}; the file is not what was sealed, or was changed later"
        case Conclusion.NOT_PROVED:
            parts = counted(len(verdict.unchecked), "part")
            return f"not proved: {parts} could not be checked"
        case Conclusion.ATTESTED:
            who = ", ".join(verdict.signed_by)
            return f"attested, not proved: {who} has signed that no event of {trees} matches"
        case Conclusion.PROVED:
            return f"proved: {events}, as their owners sealed them; {trees} searched"


def _row(event: ProvedEvent, zone: CaseZone) -> list[str | TableCell]:
    said, place = event.document, event.place
    receipts = sorted(event.receipts, key=lambda each: (each.posix_time, each.database))
    return [
        zone.shown_text(str(said.get("recorded_at", ""))),
        place.tp.topic,
        str(place.tp.partition),
        str(place.leaf),
        str(said.get("record_id", "")),
        str(said.get("revision", "")),
        str(said.get("action", "")),
        ", ".join(f"{each.database} {zone.shown_posix(each.posix_time)}" for each in receipts),
    ]


def _document(verdict: EvidenceVerdict, held: frozenset[str] | None) -> dict[str, Any]:
    is_attested = verdict.conclusion is Conclusion.ATTESTED
    left_out = verdict.statement
    return {
        "verdict": verdict.conclusion,
        "proved": None if is_attested else verdict.is_proved,
        "sha256": verdict.digest,
        "disproved": [each._asdict() for each in verdict.disproved],
        "not_checked": [each._asdict() for each in verdict.unchecked],
        "stated": {
            "signed_by": verdict.signed_by,
            "custody": verdict.custody,
            "asked_for": verdict.asked_for,
            "no_other_event_matches": bool(verdict.custody),
            **({} if left_out is None else left_out.members()),
        },
        "agreements": [
            {"sha256": digest, "events": count, "given": None if held is None else digest in held}
            for digest, count in _named(verdict).items()
        ],
        "trees": [
            {
                "name": each.name,
                "leaves": each.size,
                "heads_signed_at": each.heads_time and _moment(each.heads_time),
                "heads_leaves": each.heads_size,
            }
            for each in verdict.trees
        ],
        "events": [
            {
                "topic": each.place.tp.topic,
                "partition": each.place.tp.partition,
                "leaf": each.place.leaf,
                "event": each.document,
                "receipts": [
                    {"database": held.database, "signed_at": _moment(held.posix_time)}
                    for held in each.receipts
                ],
            }
            for each in verdict.events
        ],
    }


def _moment(posix_time: int) -> str:
    """A POSIX time in UTC; one that no calendar has stays a number."""
    try:
        return datetime.fromtimestamp(posix_time, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, OSError, ValueError):
        return f"POSIX time {posix_time}"
