"""Reads one record from its topic: its sealed revisions, each with the proof of its seal.

Only the partition of the record's key is read, and of it only the events of the record are decoded.
All other leaves are verified as in every audit.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sinergi_consumers.audit.audit import Audit, Copies
from sinergi_consumers.audit.evidence.case_zone import CaseZone
from sinergi_consumers.audit.near_keys import keep_nearest
from sinergi_consumers.reading.record_leaves import RecordLeaves
from sinergi_schemas import codec, errors
from sinergi_schemas.seal.merkle import Frontier, appended_inclusion_proof
from sinergi_schemas.seal.proof import Proof
from sinergi_schemas.topics import TopicPartition, partition_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sinergi_consumers.bus import Bus
    from sinergi_consumers.decode.decoder import Decoder
    from sinergi_schemas.catalog import Schema
    from sinergi_schemas.message import Message
    from sinergi_schemas.seal.reader import VerifiedLeaves
    from sinergi_schemas.topics import Topic

# A publisher may seal any number of events of one record. A page cannot show them all.
MOST_REVISIONS = 5_000
MOST_BYTES = 64 * 1024 * 1024
# Where a record is not found, the keys of all its topic's messages are compared, if they are few.
_MOST_COMPARED = 100_000


@dataclass(frozen=True, slots=True)
class SealedRevision:
    """One event of a record, as its owner has sealed it.

    Attributes:
        tp, leaf_index: its place.
        leaf_data: the bytes that the leaf hash covers.
        schema: with which it was written; None if it is not installed.
        event: what it says; None if it cannot be read.
        unread: why it cannot be read, without any value of it; empty if it can.
        not_agreed: why no agreement here allows it; empty if one does.
        root: of the tree of the first checkpoint that covers the leaf.
        proof: that this checkpoint covers the leaf.
        size: of that tree.
    """

    tp: TopicPartition
    leaf_index: int
    leaf_data: bytes
    schema: Schema | None
    event: dict[str, Any] | None
    unread: str
    not_agreed: str
    root: bytes
    proof: Proof
    size: int


@dataclass(slots=True)
class SealedRecord:
    """A record as its topic has it.

    Attributes:
        topic, record_id: which record.
        audit: of the record's partition; its verdict is about this partition alone.
        revisions: the events, in the order in which they were sealed.
        near_keys: the keys that are nearest to the record's.
        is_topic_compared: whether these are of the whole topic; else of the record's partition.
    """

    topic: Topic
    record_id: str
    audit: Audit
    revisions: list[SealedRevision] = field(default_factory=list)
    near_keys: list[str] = field(default_factory=list)
    is_topic_compared: bool = False

    @property
    def partition(self) -> int:
        """The partition of the record's key."""
        (counts,) = self.audit.partition_counts
        return counts.partition

    @property
    def zone(self) -> CaseZone:
        """The zone in which all its times are shown."""
        return CaseZone.of(each.event for each in self.revisions if each.event is not None)

    @property
    def leaves(self) -> list[int]:
        """The indexes of its leaves."""
        return [each.leaf_index for each in self.revisions]


def read_record(
    bus: Bus,
    topic: Topic,
    record_id: str,
    while_reading: Callable[[Audit], None] = lambda _: None,
) -> SealedRecord:
    """Read a record from its topic, and audit its partition.

    Args:
        while_reading: called after each batch.

    Raises:
        EventTypeUnknown: the event type is not installed.
        RecordRefused: the record has more revisions than can be shown.
        SinergiError: see `Audit.events`.
    """
    audit = Audit(bus, topic, Copies())
    audit.check_event_type()
    decoder = bus.decoder(topic.event_type)
    key = record_id.encode()
    number = partition_for(key, bus.agreements.partitions(topic))
    found = SealedRecord(topic, record_id, audit)
    tree, size = Frontier.empty(), 0
    for batch in audit.batches({}, only=[number]):
        keep_nearest(found.near_keys, record_id, batch.messages)
        for each in batch.checkpoints:
            indexes = range(each.start, each.end)
            messages = [m for m in map(batch.message, indexes) if m.key == key]
            size += sum(m.size for m in messages)
            if len(found.revisions) + len(messages) > MOST_REVISIONS or size > MOST_BYTES:
                more = f"it has more than {MOST_REVISIONS:,} events, or {MOST_BYTES // 2**20} MiB"
                raise errors.RecordRefused(f"{more}; read it with `sinergi replay --key`")
            if messages:
                part = RecordLeaves(topic, number, messages)
                found.revisions += _revisions(bus, decoder, part, tree, each)
            tree = each.frontier
        while_reading(audit)
    if not found.revisions:
        _compare_other_partitions(found)
    return found


def _compare_other_partitions(found: SealedRecord) -> None:
    """Look for near keys in the other partitions too, if there is not too much to read."""
    survey = found.audit.survey()
    others = {*survey.partitions()} - {found.partition}
    if others and survey.count_messages() > _MOST_COMPARED:
        return
    for number in sorted(others):
        # The verdict is about the record's partition alone; of another one, what is valid counts.
        with suppress(errors.SealBroken):
            for batch in survey.batches(survey.new_counts(number), frozenset()):
                keep_nearest(found.near_keys, found.record_id, batch.messages)
    found.is_topic_compared = True


def _revisions(
    bus: Bus, decoder: Decoder, part: RecordLeaves, tree: Frontier, sealed: VerifiedLeaves
) -> Iterator[SealedRevision]:
    """The events of a record under one checkpoint.

    Args:
        tree: before the leaves of the checkpoint.
    """
    unread: dict[int, str] = {}
    not_agreed: dict[int, str] = {}
    for decoded in decoder.found_parts(part):
        unread |= {each.message.leaf_index: each.reason for each in decoded.refused}
        violations = bus.agreement_check.violations_by_leaf(decoded.events)
        not_agreed |= {index: each.why for index, each in violations.items()}
    for each in part.messages:
        index = each.leaf_index
        schema = bus.schema(part.topic.event_type, each.fingerprint)
        event = None
        if index not in unread and schema is not None:
            event, unread[index] = _event(each, schema)
        path = appended_inclusion_proof(tree, sealed.leaves, index)
        yield SealedRevision(
            TopicPartition(part.topic.name, part.partition),
            index,
            each.leaf_data,
            schema,
            event,
            unread.get(index, ""),
            not_agreed.get(index, ""),
            sealed.root,
            Proof(index, tuple(path), sealed.note),
            sealed.end,
        )


def _event(message: Message, schema: Schema) -> tuple[dict[str, Any] | None, str]:
    """What a message says, and why it cannot be read."""
    try:
        return codec.decode(message.datum, schema), ""
    except errors.DatumInvalid:
        return None, "datum-invalid"
