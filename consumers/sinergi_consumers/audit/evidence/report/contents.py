"""What the report of a bundle says, in the words of both languages, before it is laid out.

Every text of an event is made plain (`plain_text`): a name could hold characters that change the
direction of writing, and a judge reads what is printed.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sinergi_consumers.audit.evidence.case_zone import CaseZone
from sinergi_consumers.audit.evidence.report import wording
from sinergi_consumers.audit.evidence.report.search_terms import looked_for
from sinergi_consumers.audit.evidence.report.wording import AT_THE_LATEST
from sinergi_consumers.audit.records.changes import shown_code
from sinergi_schemas.avro_types.nodes import (
    ArrayType,
    EnumType,
    LogicalType,
    OptionalType,
    RecordType,
)
from sinergi_schemas.codes import Action
from sinergi_schemas.indonesian_meanings import in_both, shown_doc
from sinergi_schemas.plain_text import plain
from sinergi_schemas.seal.checkpoint import parse_receipt
from sinergi_schemas.seal.keys import cosigned_at
from sinergi_schemas.seal.note import parse_note

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sinergi_consumers.audit.evidence.composition import (
        BundleContents,
        EventEvidence,
        TreeEvidence,
    )
    from sinergi_consumers.audit.evidence.omissions import SearchStatement
    from sinergi_consumers.audit.evidence.report.wording import Wording
    from sinergi_schemas.avro_types.nodes import AvroType
    from sinergi_schemas.catalog import Schema
    from sinergi_schemas.seal.proof import Proof


class ReportedField(NamedTuple):
    """A value of an event, with the meaning of its field."""

    path: str
    meaning: str
    value: str


class KnownBy(NamedTuple):
    """That a database had an event.

    Attributes:
        at: when its key signed that, by its own clock; None if no calendar has the time.
        how: whether this is its first receipt, or says no more than that it had the event then.
    """

    database: str
    at: datetime | None
    how: Wording


class ReportedEvent(NamedTuple):
    """One event.

    Attributes:
        occurred_at, recorded_at: in the zone of the report.
        place: topic, partition and leaf.
    """

    record: str
    revision: int
    action: str
    agency: str
    event_type: str
    occurred_at: datetime
    recorded_at: datetime
    place: str
    fields: tuple[ReportedField, ...]
    known_by: tuple[KnownBy, ...]


class TimelineMoment(NamedTuple):
    """One line of the timeline.

    Attributes:
        kind: `occurred`, `recorded` or `received`.
        clock: whose clock tells the time.
    """

    at: datetime
    kind: str
    record: str
    revision: int
    action: str
    clock: str


class ReportedTree(NamedTuple):
    """A topic-partition that was searched."""

    name: str
    leaves: int
    matching: int
    root: str
    heads: str


class UnsearchedPart(NamedTuple):
    """A topic or partition that was not searched.

    Attributes:
        reason: a key of `wording.REASONS`.
        is_failure: whether it should have been searched.
    """

    name: str
    reason: str
    detail: str
    is_failure: bool


class EvidenceReport(NamedTuple):
    """All that the report says.

    Attributes:
        zone: of all times in it.
        signers: the names of the keys with which the maker signs what he states.
        unsearched: what was not searched.
        stated: who made the bundle, when and why, as pairs of a label and a text.
        agreements: title or name of each agreement, with its SHA-256.
    """

    bus: str
    zone: CaseZone
    signers: tuple[str, ...]
    unsearched: tuple[UnsearchedPart, ...]
    stated: tuple[tuple[str, str], ...]
    events: tuple[ReportedEvent, ...]
    timeline: tuple[TimelineMoment, ...]
    trees: tuple[ReportedTree, ...]
    agreements: tuple[str, ...]


def report_of(contents: BundleContents) -> EvidenceReport:
    """The report of what a bundle holds."""
    schemas = {each.fingerprint: each for each in contents.schemas}
    zone = CaseZone.of(
        (each.event for each in contents.events),
        (each.text for each in contents.agreements),
        str(contents.custody["made_at"]),
    )
    events = [_event(each, schemas[each.leaf.fingerprint], zone) for each in contents.events]
    events.sort(key=lambda each: (each.recorded_at, each.record, each.revision))
    stated = contents.custody
    return EvidenceReport(
        contents.bus,
        zone,
        tuple(each.public.name for each in contents.signers),
        tuple(_unsearched(contents.left_out)),
        (
            (str(wording.MADE_BY), plain(str(stated["made_by"]))),
            (str(wording.MADE_AT), plain(zone.shown_text(str(stated["made_at"])))),
            (str(wording.WHY), plain(str(stated["why"]))),
            (str(wording.LOOKED_FOR), plain(looked_for(contents.asked_for))),
            (str(wording.SOFTWARE), plain(str(stated.get("software", "")))),
        ),
        tuple(events),
        tuple(sorted(_moments(events), key=lambda each: each.at)),
        tuple(_trees(contents, zone)),
        tuple(each.digest for each in contents.agreements),
    )


def _unsearched(left_out: SearchStatement) -> Iterator[UnsearchedPart]:
    for each in sorted(left_out.not_searched, key=lambda each: not each.is_failure):
        yield UnsearchedPart(each.name, each.reason, plain(each.detail), each.is_failure)
    for topic, records in left_out.related_not_read:
        yield UnsearchedPart(topic, "related", f"{records:,}", is_failure=True)


def _event(event: EventEvidence, schema: Schema, zone: CaseZone) -> ReportedEvent:
    said, topic = event.event, event.place.tp.event_topic
    known = [
        _known(name, proof, event.sources.get(name, AT_THE_LATEST), zone)
        for name, proof in sorted(event.receipts.items())
    ]
    return ReportedEvent(
        plain(str(said["record_id"])),
        int(said["revision"]),
        shown_action(str(said["action"])),
        topic.agency,
        topic.event_type,
        zone.local(datetime.fromisoformat(str(said["occurred_at"]))),
        zone.local(datetime.fromisoformat(str(said["recorded_at"]))),
        f"{event.place.tp}, daun · leaf {event.place.leaf}",
        tuple(_fields(said, schema.event, "", zone)),
        tuple(known),
    )


def _known(name: str, proof: Proof, how: Wording, zone: CaseZone) -> KnownBy:
    """The time in a receipt that was verified when it was collected."""
    database = name.partition("/")[2]
    signed = [
        cosigned_at(each.value)
        for each in parse_receipt(proof.note).signatures
        if each.name == name
    ]
    at: datetime | None = None
    with suppress(OverflowError, OSError, ValueError):  # a time that no calendar has
        at = zone.local(datetime.fromtimestamp(min(signed), UTC))
    return KnownBy(database, at, how)


def _moments(events: Sequence[ReportedEvent]) -> Iterator[TimelineMoment]:
    for each in events:
        what = (each.record, each.revision, each.action)
        yield TimelineMoment(each.occurred_at, "occurred", *what, each.agency)
        yield TimelineMoment(each.recorded_at, "recorded", *what, each.agency)
        for known in each.known_by:
            if known.at is not None:
                yield TimelineMoment(known.at, "received", *what, known.database)


def shown_action(symbol: str) -> str:
    """What an event does to its record, with the Indonesian term where there is one."""
    term = next((each.indonesian for each in Action if each == symbol), "")
    return f"{symbol} ({term})" if term else symbol


def _fields(
    value: Mapping[str, Any], record: RecordType, above: str, zone: CaseZone
) -> Iterator[ReportedField]:
    """The fields that have a value, with those of nested records below them."""
    for each in record.fields:
        path, meaning = f"{above}{each.name}", in_both(shown_doc(each.doc))
        yield from _values(value[each.name], each.type, path, meaning, zone)


def _values(
    value: Any, node: AvroType, path: str, meaning: str, zone: CaseZone
) -> Iterator[ReportedField]:
    match node:
        case OptionalType(value=inner):
            if value is not None:
                yield from _values(value, inner, path, meaning, zone)
        case RecordType():
            yield from _fields(value, node, f"{path}.", zone)
        case ArrayType(items=items):
            for number, each in enumerate(value, 1):
                yield from _values(each, items, f"{path} {number}", meaning, zone)
        case _:
            yield ReportedField(path, plain(meaning), plain(_text(value, node, zone)))


def _text(value: Any, node: AvroType, zone: CaseZone) -> str:
    match node:
        case LogicalType(kind="timestamp-micros"):
            return f"{zone.shown_text(str(value))} ({value})"
        case EnumType():
            return shown_code(node, str(value))
        case _:
            return str(value)


def _trees(contents: BundleContents, zone: CaseZone) -> Iterator[ReportedTree]:
    for each in sorted(contents.trees, key=lambda each: each.tp):
        matching = sum(event.place.tp == each.tp for event in contents.events)
        yield ReportedTree(
            str(each.tp), each.size, matching, each.root.hex(), _heads(contents, each, zone)
        )


def _heads(contents: BundleContents, tree: TreeEvidence, zone: CaseZone) -> str:
    """When the owner signed its heads, and how many leaves they state."""
    note = contents.heads.get(tree.tp.event_topic.agency)
    if note is None:
        return str(wording.NO_HEADS)
    _, time, *lines = parse_note(note).text.splitlines()
    stated = [line.split(" ")[1] for line in lines if line.startswith(f"{tree.tp} ")]
    if not stated:
        return str(wording.NO_HEADS)
    return f"{stated[0]} daun · leaves, ditandatangani · signed {zone.shown_posix(int(time))}"
