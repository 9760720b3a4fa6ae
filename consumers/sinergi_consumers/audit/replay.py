"""Replay: read a topic again from its first leaf, verify it, and return frames of events.

It has no side effects: it joins no consumer group, commits no offset and has no producer. It
returns only events that a valid checkpoint covers.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from sinergi_consumers.audit.removed_leaves import explained
from sinergi_consumers.reading.partition import Partition
from sinergi_consumers.reading.record_leaves import RecordLeaves
from sinergi_schemas import errors
from sinergi_schemas.garbage import collect_rarely, leave_loaded_objects
from sinergi_schemas.kafka.partitions import added
from sinergi_schemas.plain_text import counted
from sinergi_schemas.seal.merkle import EMPTY_ROOT, Frontier
from sinergi_schemas.seal.skipped import SkippedByCause
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    import polars as pl

    from sinergi_consumers.audit.event_filter import ReplayFilter
    from sinergi_consumers.audit.statements import SignedStatement
    from sinergi_consumers.bus import Bus
    from sinergi_consumers.decode.decoder import Decoder
    from sinergi_consumers.reading.partition import Leaves, VerifiedBatch
    from sinergi_consumers.reading.position import TopicIncarnation
    from sinergi_schemas.avro_types.nodes import RecordType
    from sinergi_schemas.kafka.scan import PartitionScan
    from sinergi_schemas.seal.history import VerifiedHistory
    from sinergi_schemas.topics import Topic

LEAF_BYTES = 16


@dataclass(slots=True)
class ReplayCounts:
    """What a replay has read of one partition.

    Attributes:
        partition: its number.
        verified: the number of leaves that a valid checkpoint covers.
        offsets: the next offset to read, and the end of the partition.
        first_offset: of the partition when the replay began.
        unsealed: the number of leaves after the last checkpoint; their batch is not complete yet.
        root: of the tree of all verified leaves.
        roots: of the trees of the requested sizes, by size.
        note: the last checkpoint with its owner's signatures; empty before it.
        shown: the number of events that were returned, or that this run has stored in tables.
        stored_before: the number of those that the tables had when the run began.
        refused: sealed events that do not decode or contradict their topic or key, by reason.
        quarantined: events that could not become rows, where a replay fills tables, by reason.
        unlike: events whose rows are not as a database had them, where a replay restores the past.
        not_agreed: events that no agreement allows, by reason; they are returned as well.
        skipped: messages that no checkpoint covers and that were skipped, by cause.
        resends: the number of messages that were skipped as copies.
        leaves: 16 bytes of each leaf hash, if they are stored for a comparison.
        history: what the reader stored to compare with, and what could not be compared.
        stated_roots: of the owner's last checkpoints, by size; the leaves may contradict them.
        origins: in the checkpoints of the partition, whoever signed them.
        outside_interval: `recorded_at` of the requested record's events outside the interval.
        of_record: the number of the requested record's events within the interval.
        unmet: how many of these do not meet the other conditions.
    """

    partition: int
    verified: int = 0
    unsealed: int = 0
    offsets: tuple[int, int] = (0, 0)
    first_offset: int = 0
    root: bytes = EMPTY_ROOT
    roots: dict[int, bytes] = field(default_factory=dict)
    note: str = ""
    shown: int = 0
    stored_before: int = 0
    refused: SkippedByCause = field(default_factory=SkippedByCause)
    quarantined: SkippedByCause = field(default_factory=SkippedByCause)
    unlike: SkippedByCause = field(default_factory=SkippedByCause)
    not_agreed: SkippedByCause = field(default_factory=SkippedByCause)
    skipped: SkippedByCause = field(default_factory=SkippedByCause)
    resends: int = 0
    leaves: bytearray | None = None
    history: VerifiedHistory | None = None
    stated_roots: Mapping[int, bytes] = field(default_factory=dict)
    origins: AbstractSet[str] = frozenset()
    outside_interval: list[datetime] = field(default_factory=list)
    of_record: int = 0
    unmet: int = 0

    def leaf(self, index: int) -> bytes:
        """The stored part of a leaf hash."""
        return bytes((self.leaves or b"")[index * LEAF_BYTES : (index + 1) * LEAF_BYTES])

    def unsealed_of(self, origin: str) -> int:
        """As `unsealed`; 0 if the messages are of another topic-partition.

        Args:
            origin: `<bus>/<topic>/<partition>` of this one.
        """
        return self.unsealed if not self.origins or origin in self.origins else 0

    @property
    def unmatched(self) -> Mapping[int, bytes]:
        """Roots of checkpoints of smaller trees that were not compared, by tree size."""
        return self.history.unmatched if self.history else {}

    @property
    def unmatched_beyond_limit(self) -> int:
        """The number of further ones, which were not stored and so cannot be compared."""
        return self.history.unmatched_beyond_limit if self.history else 0

    def add(self, batch: VerifiedBatch, before: Frontier, sizes: Sequence[int]) -> None:
        """Count a verified batch, and compute the roots of the requested tree sizes in it.

        Args:
            batch: the next one.
            before: the verified tree before the batch.
            sizes: tree sizes, sorted.
        """
        for each in batch.checkpoints:
            within = before
            for size in sizes[bisect_right(sizes, each.start) : bisect_right(sizes, each.end)]:
                leaves = each.leaves[within.size - each.start : size - each.start]
                within = within.extend(leaves)
                self.roots[size] = within.root()
            if self.leaves is not None:
                self.leaves += b"".join(leaf[:LEAF_BYTES] for leaf in each.leaves)
            before = each.frontier
        last = batch.checkpoints[-1]
        self.verified, self.root, self.note = last.end, last.root, last.note


class Replay:
    """The replay of one topic.

    Args:
        bus: the source and the agreements.
        topic: the event topic.
        copy: the name of a copy to read instead; its messages must have the seal of `topic`.
        keeps_leaves: store 16 bytes of each leaf hash, for a comparison.

    Attributes:
        bus: the source and the agreements.
        topic: the event topic.
        name: of the topic that is read.
        partition_counts: what was read of each partition so far.
        added: a remark about partitions that the agreement does not include, or None.
    """

    def __init__(
        self, bus: Bus, topic: Topic, copy: str | None = None, *, keeps_leaves: bool = False
    ) -> None:
        self.bus = bus
        self.topic = topic
        self.name = topic.name if copy is None else copy
        self._is_copy = copy is not None
        self._keeps_leaves = keeps_leaves
        self.partition_counts: list[ReplayCounts] = []
        self.added: str | None = None

    # When they are needed: one event type that is not installed must not keep an audit of several
    # topics from being set up.
    @cached_property
    def _decoder(self) -> Decoder:
        return self.bus.decoder(self.topic.event_type)

    @cached_property
    def _empty(self) -> pl.DataFrame:
        return self._decoder.empty_frame()

    @cached_property
    def _schema(self) -> RecordType:
        return self.bus.catalog.newest(self.topic.event_type).event

    @cached_property
    def _incarnation(self) -> TopicIncarnation:
        return self.bus.source.incarnation(self.name)

    def check_same(self) -> None:
        """Check that the topic is the one that this replay began to read.

        Raises:
            TopicChanged: it is not: what was read is of two topics, and disproves neither.
        """
        if self.bus.source.incarnation(self.name) != self._incarnation:
            raise errors.TopicChanged(self.name, "it was deleted and created again")

    def events(self, wanted: ReplayFilter) -> Iterator[pl.DataFrame]:
        """Frames of verified events, partition by partition, each in leaf order.

        Raises:
            EventTypeUnknown: the event type is not installed.
            SealBroken: the topic is not what its owner sealed; nothing of that batch is returned.
            PartitionsDiffer: the topic has fewer partitions than the agreement says.
            TopicChanged, Unavailable: it was created again, or the broker does not answer.
        """
        for number in self.partitions():
            yield from self.partition(number, wanted)

    def partition(
        self, number: int, wanted: ReplayFilter, sizes: AbstractSet[int] = frozenset()
    ) -> Iterator[pl.DataFrame]:
        """As `events`, for one partition.

        Args:
            wanted: the filter. If it names a record, only the events of that record are decoded.
            sizes: tree sizes; their roots are stored in the partition's counts.
        """
        counts = self.new_counts(number)
        for batch in self.batches(counts, sizes):
            wanted.compare_keys(batch.messages)
            leaves = _leaves_to_decode(batch, wanted)
            if not leaves.messages:
                yield self._empty
                continue
            for part in self._decoder.found_parts(leaves):
                for each in part.refused:
                    counts.refused.add(each.reason, each.message.offset, each.message.leaf_index)
                not_agreed = self.bus.agreement_check.violations_by_leaf(part.events)
                for index, violation in not_agreed.items():
                    counts.not_agreed.add(violation.why, batch.message(index).offset, index)
                chosen = self.chosen(part.events, wanted)
                counts.shown += chosen.height
                counts.outside_interval += wanted.outside_interval(part.events, self._schema)
                of_record, meeting = wanted.of_record(part.events, self._schema)
                counts.of_record += of_record
                counts.unmet += of_record - meeting
                yield chosen

    def chosen(self, events: pl.DataFrame, wanted: ReplayFilter) -> pl.DataFrame:
        """Those of its events that pass a filter."""
        return wanted.choose(events, self._schema)

    @property
    def witnesses(self) -> Sequence[SignedStatement]:
        """Signed statements to compare the topic with, besides those in other topics."""
        return ()

    @property
    def unknown(self) -> Sequence[str]:
        """What such a replay does not know, whatever the topic holds; one per line."""
        return ()

    @property
    def messages_read(self) -> int:
        """How many messages have been read, without those that are read twice."""
        return sum(each.offsets[0] - each.first_offset for each in self.partition_counts)

    def count_messages(self) -> int:
        """How many messages the partitions that the agreement includes have now.

        Raises:
            SinergiError: see `partitions`.
        """
        tps = [TopicPartition(self.name, number) for number in self.partitions()]
        return sum(map(len, self.bus.source.offsets(tps).values()))

    def verify(self, number: int, sizes: AbstractSet[int] = frozenset()) -> ReplayCounts:
        """Verify one partition without decoding its events.

        Raises:
            SealBroken: as `events`; `partition_counts` has what is valid.
        """
        counts = self.new_counts(number)
        for _ in self.batches(counts, sizes):
            pass
        return counts

    def empty_frame(self) -> pl.DataFrame:
        """A frame with the columns of `events` and no rows."""
        return self._empty

    def partitions(self) -> range:
        """The partitions that the agreement includes. Other partitions contain no event.

        Raises:
            NotAgreed: no agreement covers the topic.
            PartitionsDiffer: the topic has fewer partitions than the agreement says.
            ReplayRefused: the copy does not exist, or has fewer partitions.
            Unavailable: the broker does not answer, or does not have the topic.
        """
        expected = self.bus.agreements.partitions(self.topic)
        found = self.bus.source.partition_counts([self.name]).get(self.name)
        if self._is_copy:
            return self._partitions_of_copy(found, expected)
        if found is None:
            raise errors.ReplayedTopicMissing(self.name)
        if found < expected:
            file = self.bus.agreements.file_of(self.topic)
            raise errors.PartitionsDiffer(self.name, found, expected, file)
        self.added = added(self.name, found, expected)
        return range(expected)

    def _partitions_of_copy(self, count: int | None, expected: int) -> range:
        """As `partitions`, but without advice to create or change a topic that may be evidence."""
        if count is None:
            raise errors.ReplayRefused(f"there is no topic {self.name} here; check its name")
        what = f"the copy {self.name} has {counted(count, 'partition')}, and {expected} are agreed"
        if count < expected:
            hint = "it is not a complete copy"
            raise errors.ReplayRefused(f"{what} for {self.topic.name}; {hint}")
        if count > expected:
            self.added = f"{what}: the further ones are not read"
        return range(expected)

    def new_counts(self, number: int) -> ReplayCounts:
        """The counts of a partition that is about to be read."""
        counts = ReplayCounts(number, leaves=bytearray() if self._keeps_leaves else None)
        self.partition_counts.append(counts)
        return counts

    def batches(self, counts: ReplayCounts, sizes: AbstractSet[int]) -> Iterator[VerifiedBatch]:
        """The verified batches of a partition, from its first leaf on.

        Args:
            counts: they name the partition, and count what is read.
            sizes: tree sizes; their roots are stored in `counts`.

        Raises:
            SealBroken, TopicChanged, Unavailable: as `events`.
        """
        return self.batches_since(Frontier.empty(), counts, sizes)

    def batches_since(
        self, tree: Frontier, counts: ReplayCounts, sizes: AbstractSet[int]
    ) -> Iterator[VerifiedBatch]:
        """As `batches`, from the leaf after a tree whose leaves were verified before."""
        leave_loaded_objects()
        collect_rarely()
        number, ordered = counts.partition, sorted(sizes)
        keys = self.bus.agreements.ring(self.topic, number)
        bus = self.bus.agreements.bus
        partition = Partition(bus, self.topic, number, keys, tree, compare=True)
        counts.skipped, counts.history = partition.skipped, partition.history
        counts.stated_roots, counts.origins = partition.stated_roots, partition.origins
        _ = self._incarnation  # it is asked for before anything is read
        with self.bus.source.open_scan(TopicPartition(self.name, number)) as scan:
            try:
                for batch in _read(scan, partition, counts, scan.find(tree.size)):
                    counts.add(batch, tree, ordered)
                    tree = batch.frontier
                    yield batch
            except errors.SealBroken as why:
                self.check_same()
                raise explained(why, scan, counts.first_offset) from None


def _leaves_to_decode(batch: VerifiedBatch, wanted: ReplayFilter) -> Leaves:
    """The leaves of a batch that may pass a filter."""
    if wanted.record_id is None or wanted.reached is not None:
        return batch
    return RecordLeaves.of(batch, wanted.record_id)


def _read(
    scan: PartitionScan, partition: Partition, counts: ReplayCounts, first: int
) -> Iterator[VerifiedBatch]:
    """The verified batches of a partition, from an offset to its present end.

    Raises:
        SealBroken: the messages are not what the owner sealed.
    """
    _, high = scan.bounds()
    counts.offsets, counts.first_offset = (first, high), first
    start: int | None = first
    while start is not None:
        for part, ends_chunk in scan.parsed_parts(start, high):
            partition.add_parsed(part)
            if not ends_chunk:
                continue
            batch = partition.next_batch()
            _count_unreadable(scan, partition)
            counts.offsets = (partition.next_offset, high)
            if batch:
                yield batch
            if partition.rewind is not None:
                break
        _count_unreadable(scan, partition)
        counts.offsets = (partition.next_offset, high)
        partition.end()
        while partition.rewind is None and (batch := partition.next_batch()):
            yield batch
        counts.unsealed, counts.resends = partition.pending, partition.resends
        start, partition.rewind = partition.rewind, None


def _count_unreadable(scan: PartitionScan, partition: Partition) -> None:
    """Count record batches that the client cannot read as skipped messages."""
    for each in scan.drain_unreadable():
        partition.skipped.add(each.cause, each.offset)
