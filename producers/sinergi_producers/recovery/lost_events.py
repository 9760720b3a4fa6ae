"""Decides what becomes of events that the topics have and a restored database lacks.

A database that was restored from a backup lacks its newest rows; the topics have them. What is on a
topic is published and cannot be taken back, so the database follows the topics. The functions here
get the events of the topics and the rows of the outbox, and return what becomes of each. They do no
I/O.

    1. If the database has no row for an event, the row is inserted again, with its leaf. Such an
       event is called forgotten.
    2. An event whose row has no leaf takes that row. The row was in the backup, or the event was
       published again since. It becomes what the topic shows, to the byte.
    3. Another row without a leaf may be of a record that has newer revisions on the topic. It was
       published since the restore, without knowledge of these: its revision follows theirs, and a
       first record becomes a correction. It has the record's whole state, and is the newest.
    4. If the topic shows that the record was retracted, no correction is possible: the row is
       withheld until a person decides.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas import codec, errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sinergi_producers.relay.sealing import TreeKey
    from sinergi_schemas.catalog import Catalog, Schema
    from sinergi_schemas.message import Message

WITHHELD = (
    "the topic shows this record retracted, which this database had forgotten: publish the event"
    " under another record_id and delete this row"
)

Record = tuple[str, str]
"""An event type and a record_id."""


class RecordHead(NamedTuple):
    """The newest revision of a record, and its action."""

    revision: int
    action: str


@dataclass(frozen=True, slots=True)
class TopicEvent:
    """An event on a topic, beyond the tree that the database has.

    Attributes:
        is_proved: a checkpoint of this agency covers it.
    """

    tree_key: TreeKey
    leaf_index: int
    event_id: UUID
    record_id: str
    revision: int
    action: str
    recorded_at: datetime
    fingerprint: bytes
    datum: bytes
    is_proved: bool

    @property
    def record(self) -> Record:
        """The record that it is about."""
        return self.tree_key[0], self.record_id


class RelatedRow(NamedTuple):
    """A row with the event_id of an event on a topic, or a row without a leaf of the same record.

    Attributes:
        held: why the relay does not seal it.
        leaf_index: its leaf, if it is sealed.
    """

    id: int
    event_id: UUID
    event_type: str
    record_id: str
    revision: int
    fingerprint: bytes
    datum: bytes
    held: str | None
    leaf_index: int | None

    @property
    def record(self) -> Record:
        """The record that it is about."""
        return self.event_type, self.record_id


class Renumbered(NamedTuple):
    """A row without a leaf that becomes a later revision."""

    row: RelatedRow
    revision: int
    datum: bytes


@dataclass(slots=True)
class Settlement:
    """What becomes of the events on the topics, and of the rows without a leaf.

    Attributes:
        forgotten: events that have no row.
        known: events whose row has no leaf, each with its row.
        renumbered: rows that become later revisions of their records.
        withheld: rows about which a person has to decide.
        heads: the new heads of all records concerned.
    """

    forgotten: list[TopicEvent] = field(default_factory=list)
    known: list[tuple[RelatedRow, TopicEvent]] = field(default_factory=list)
    renumbered: list[Renumbered] = field(default_factory=list)
    withheld: list[RelatedRow] = field(default_factory=list)
    heads: dict[Record, RecordHead] = field(default_factory=dict)

    @property
    def unproved(self) -> list[TopicEvent]:
        """Events that are proved neither by a checkpoint nor by a row of the outbox."""
        foreign = [
            each
            for row, each in self.known
            if (row.fingerprint, row.datum) != (each.fingerprint, each.datum)
        ]
        return [each for each in (*self.forgotten, *foreign) if not each.is_proved]


def topic_event(
    tree_key: TreeKey, message: Message, catalog: Catalog, *, is_proved: bool
) -> TopicEvent:
    """The event that a message carries.

    Raises:
        SchemaRefused: this version does not have its schema.
        DatumInvalid: the datum does not fit its schema, or the key is that of another record.
    """
    schema = _schema(message.fingerprint, catalog)
    document = codec.decode(message.datum, schema)
    if document["record_id"].encode() != message.key:
        raise errors.DatumInvalid(schema.name, "its message bears another record's key")
    return TopicEvent(
        tree_key,
        message.leaf_index,
        document["event_id"],
        document["record_id"],
        document["revision"],
        document["action"],
        document["recorded_at"],
        message.fingerprint,
        message.datum,
        is_proved,
    )


def credible(events: Sequence[TopicEvent], rows: Sequence[RelatedRow]) -> list[TopicEvent]:
    """The events without those that are not proved and cannot be this agency's.

    Somebody else wrote an unproved copy of an event that is sealed already, or of one earlier on
    the topic. No event after such a copy is taken from its topic-partition, since leaves have no
    gaps.
    """
    ours = {row.event_id: row for row in rows}
    seen: set[UUID] = set()
    cut: set[TreeKey] = set()
    found = []
    for each in events:
        row = ours.get(each.event_id)
        is_another = row is not None and (row.leaf_index is not None or row.record != each.record)
        if not each.is_proved and (is_another or each.event_id in seen):
            cut.add(each.tree_key)
        if each.is_proved or each.tree_key not in cut:
            found.append(each)
        seen.add(each.event_id)
    return found


def settle(
    events: Iterable[TopicEvent], rows: Iterable[RelatedRow], catalog: Catalog
) -> Settlement:
    """Decide what becomes of events and rows.

    Raises:
        RecoveryRefused: an event has the event_id of a row that is another event.
    """
    settlement = Settlement()
    by_id = {row.event_id: row for row in rows}
    for event in events:
        row = by_id.pop(event.event_id, None)
        if row is None:
            settlement.forgotten.append(event)
        elif row.leaf_index is None and row.record == event.record:
            settlement.known.append((row, event))
        else:
            what = f"the event {event.event_id} on the topic is another one here"
            raise errors.RecoveryRefused(what)
        head = settlement.heads.get(event.record)
        if head is None or event.revision > head.revision:
            settlement.heads[event.record] = RecordHead(event.revision, event.action)
    waiting: dict[Record, list[RelatedRow]] = defaultdict(list)
    for row in by_id.values():
        waiting[row.record].append(row)
    for record in settlement.heads.keys() & waiting.keys():
        _renumber(settlement, record, waiting[record], catalog)
    return settlement


def _renumber(
    settlement: Settlement, record: Record, rows: Sequence[RelatedRow], catalog: Catalog
) -> None:
    """Put the rows of a record that have no leaf after the revisions that the topic has of it."""
    head = settlement.heads[record]
    for row in sorted(rows, key=lambda each: (each.revision, each.id)):
        if head.action == "RETRACTED":
            settlement.withheld.append(row)
            continue
        schema = _schema(row.fingerprint, catalog)
        document = codec.decode(row.datum, schema)
        head = RecordHead(head.revision + 1, _action_after_the_first(document))
        if head != (document["revision"], document["action"]):
            document |= head._asdict()
            datum = codec.encode_document(document, schema)
            settlement.renumbered.append(Renumbered(row, head.revision, datum))
    settlement.heads[record] = head


def _action_after_the_first(document: Mapping[str, object]) -> str:
    """The action of an event that is not the first of its record."""
    action = str(document["action"])
    return "CORRECTED" if action == "RECORDED" else action


def _schema(fingerprint: bytes, catalog: Catalog) -> Schema:
    schema = catalog.by_fingerprint(fingerprint)
    if schema is None:
        what = (
            "neither this version nor the database has it; install the version of Sinergi with"
            " which the application publishes"
        )
        raise errors.SchemaRefused(fingerprint.hex(), what)
    return schema
