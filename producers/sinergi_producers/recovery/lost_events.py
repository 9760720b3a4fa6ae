"""What the topics remember and a restored database has forgotten, decided.

A database that was restored from a backup lacks its newest rows; the topics do not. What stands
there is published, and nothing takes it back, so the database follows the topics. Events on the
topics and rows of the outbox in, what becomes of each out; nothing here touches either.

    1. An event on a topic without a row is forgotten: it gets a row with its leaf.
    2. One whose row waits here takes that row, which was in the backup or was published again
       since. The row becomes what the topic shows, to the byte.
    3. A row that waits here, of a record that went on on the topic without it, was published since
       the restore in ignorance of that: its revision follows the topic's, and the first record of
       it becomes a correction. It says the record's whole state, and it is the newer word.
    4. But where the topic shows the record retracted no correction is possible: the row is withheld
       for a person to judge.
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
    """The newest revision of a record, and what it did."""

    revision: int
    action: str


@dataclass(frozen=True, slots=True)
class TopicEvent:
    """An event on a topic, beyond the tree that the database knows.

    Attributes:
        is_proved: it stands under a checkpoint of ours.
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
        """The record that it speaks of."""
        return self.tree_key[0], self.record_id


class RelatedRow(NamedTuple):
    """A row of the outbox that bears the id of an event found, or waits and is of its record.

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
        """The record that it speaks of."""
        return self.event_type, self.record_id


class Renumbered(NamedTuple):
    """A row that waits and becomes a later revision."""

    row: RelatedRow
    revision: int
    datum: bytes


@dataclass(slots=True)
class Settlement:
    """What becomes of the events on the topics and of the rows that wait.

    Attributes:
        forgotten: events without a row.
        known: events whose row waits, each with it.
        withheld: rows that a person has to judge.
        heads: the records touched, as they are then.
    """

    forgotten: list[TopicEvent] = field(default_factory=list)
    known: list[tuple[RelatedRow, TopicEvent]] = field(default_factory=list)
    renumbered: list[Renumbered] = field(default_factory=list)
    withheld: list[RelatedRow] = field(default_factory=list)
    heads: dict[Record, RecordHead] = field(default_factory=dict)

    @property
    def unproved(self) -> list[TopicEvent]:
        """Events that neither a checkpoint nor a row of ours vouches for."""
        foreign = [
            each
            for row, each in self.known
            if (row.fingerprint, row.datum) != (each.fingerprint, each.datum)
        ]
        return [each for each in (*self.forgotten, *foreign) if not each.is_proved]


def topic_event(
    tree_key: TreeKey, message: Message, catalog: Catalog, *, is_proved: bool
) -> TopicEvent:
    """An event out of its message.

    Raises:
        SchemaRefused: this version does not have its schema.
        DatumInvalid: it is not one of its schema, or stands under another record's key.
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
    """The events without those that nothing proves and that cannot be ours.

    A copy of an event that is sealed already, or of one that stands before it, is somebody else's.
    Nothing behind it on its topic-partition is taken on, since leaves have no gaps.
    """
    ours = {row.event_id: row for row in rows}
    met: set[UUID] = set()
    cut: set[TreeKey] = set()
    topic_event = []
    for each in events:
        row = ours.get(each.event_id)
        is_another = row is not None and (row.leaf_index is not None or row.record != each.record)
        if not each.is_proved and (is_another or each.event_id in met):
            cut.add(each.tree_key)
        if each.is_proved or each.tree_key not in cut:
            topic_event.append(each)
        met.add(each.event_id)
    return topic_event


def settle(
    events: Iterable[TopicEvent], rows: Iterable[RelatedRow], catalog: Catalog
) -> Settlement:
    """Decide what becomes of them.

    Raises:
        RecoveryRefused: an event has a row that cannot be its own.
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
        _follow(settlement, record, waiting[record], catalog)
    return settlement


def _follow(
    settlement: Settlement, record: Record, rows: Sequence[RelatedRow], catalog: Catalog
) -> None:
    """Let the rows of a record that wait come behind what the topic shows of it."""
    head = settlement.heads[record]
    for row in sorted(rows, key=lambda each: (each.revision, each.id)):
        if head.action == "RETRACTED":
            settlement.withheld.append(row)
            continue
        schema = _schema(row.fingerprint, catalog)
        document = codec.decode(row.datum, schema)
        head = RecordHead(head.revision + 1, _later(document))
        if head != (document["revision"], document["action"]):
            document |= head._asdict()
            datum = codec.encode_document(document, schema)
            settlement.renumbered.append(Renumbered(row, head.revision, datum))
    settlement.heads[record] = head


def _later(document: Mapping[str, object]) -> str:
    """The action of an event that is no longer the first of its record."""
    action = str(document["action"])
    return "CORRECTED" if action == "RECORDED" else action


def _schema(fingerprint: bytes, catalog: Catalog) -> Schema:
    schema = catalog.by_fingerprint(fingerprint)
    if schema is None:
        raise errors.SchemaRefused(fingerprint.hex(), "this version does not have it")
    return schema
