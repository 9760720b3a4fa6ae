"""Replay: a topic read again from its first leaf, verified, and handed out as frames of events.

It has no side effects by construction: it joins no group, commits no offset and has no producer.
What does not stand under a valid checkpoint is never handed out.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING

import polars as pl

from sinergi_consumers.decode.decoder import Decoder
from sinergi_consumers.reading.partition import Partition
from sinergi_schemas import errors
from sinergi_schemas.kafka.admin import describe, open_admin, partition_count
from sinergi_schemas.kafka.leaf_search import parsed
from sinergi_schemas.kafka.partitions import added
from sinergi_schemas.kafka.scan import open_scan
from sinergi_schemas.plain_text import counted
from sinergi_schemas.seal.merkle import EMPTY_ROOT, Frontier, leaf_hash
from sinergi_schemas.seal.noise import Noise
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from sinergi_consumers.bus import Bus
    from sinergi_consumers.reading.partition import VerifiedBatch
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.admin import Admin
    from sinergi_schemas.kafka.scan import PartitionScan
    from sinergi_schemas.seal.history import VerifiedHistory
    from sinergi_schemas.topics import Topic

LEAF_BYTES = 16


@dataclass(frozen=True, slots=True)
class ReplayFilter:
    """Which events of a topic a replay hands out; all of them are verified all the same.

    Attributes:
        since, until: the half-open interval of `recorded_at`.
        record_id: one record only.
    """

    since: datetime | None = None
    until: datetime | None = None
    record_id: str | None = None

    def choose(self, events: pl.DataFrame) -> pl.DataFrame:
        """The wanted ones among some events."""
        if self.record_id is not None:
            events = events.filter(pl.col("record_id") == self.record_id)
        return events.filter(self._is_within())

    def elsewhen(self, events: pl.DataFrame) -> pl.Series:
        """When those events of the one record were recorded that lie outside the interval."""
        if self.record_id is None:
            return events["recorded_at"].clear()
        is_record = pl.col("record_id") == self.record_id
        return events.filter(is_record & ~self._is_within())["recorded_at"]

    def _is_within(self) -> pl.Expr:
        at = pl.col("recorded_at")
        is_within = pl.lit(value=True)
        if self.since is not None:
            is_within &= at >= self.since.astimezone(UTC)
        if self.until is not None:
            is_within &= at < self.until.astimezone(UTC)
        return is_within


@dataclass(slots=True)
class ReplayCounts:
    """What a replay has seen of one partition.

    Attributes:
        verified: leaves under a valid checkpoint.
        offsets: how far it is on the topic, and where the topic ends.
        unsealed: leaves behind the last checkpoint; their batch is not complete yet.
        root: of the tree of all verified leaves.
        roots: of the trees of the sizes that were asked for, by size.
        note: the last checkpoint, as its owner signed it; empty before the first.
        shown: events that were handed out.
        unfit: events under the seal that do not decode or contradict themselves, by reason.
        not_agreed: events that no agreement allows, by the reason; they are handed out all the
            same.
        noise: messages that no checkpoint covers and that were skipped, by cause.
        resends: messages that were ignored as known.
        leaves: 16 bytes of each leaf hash, where they are kept for a comparison.
        history: what the reader stored to compare with, and what could not be compared.
        elsewhen: when events of the record that is asked for were recorded outside the interval.
    """

    partition: int
    verified: int = 0
    unsealed: int = 0
    offsets: tuple[int, int] = (0, 0)
    root: bytes = EMPTY_ROOT
    roots: dict[int, bytes] = field(default_factory=dict)
    note: str = ""
    shown: int = 0
    unfit: Noise = field(default_factory=Noise)
    not_agreed: Noise = field(default_factory=Noise)
    noise: Noise = field(default_factory=Noise)
    resends: int = 0
    leaves: bytearray | None = None
    history: VerifiedHistory | None = None
    elsewhen: list[datetime] = field(default_factory=list)

    def leaf(self, index: int) -> bytes:
        """The kept part of a leaf hash."""
        return bytes((self.leaves or b"")[index * LEAF_BYTES : (index + 1) * LEAF_BYTES])

    @property
    def unmatched(self) -> Mapping[int, bytes]:
        """Roots by size of checkpoints behind those of larger trees that were not compared yet."""
        return self.history.unmatched if self.history else {}

    @property
    def uncompared(self) -> int:
        """How many more of them there were, which nothing can be compared with any more."""
        return self.history.unmatched_beyond_limit if self.history else 0

    def take(self, batch: VerifiedBatch, before: Frontier, sizes: Sequence[int]) -> None:
        """Count a verified batch behind the tree `before`, and note the roots of some sizes.

        Args:
            sizes: in their order.
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
    """One topic being replayed.

    Args:
        copy: the topic to read instead, which is said to be a copy; its messages must still bear
            the seal of `topic`.
        keeps_leaves: keep a part of each leaf hash, 16 bytes, for a comparison.

    Attributes:
        added: what is to be said of partitions that the agreement does not know; None without any.
    """

    def __init__(
        self, bus: Bus, topic: Topic, copy: str | None = None, *, keeps_leaves: bool = False
    ) -> None:
        self._bus = bus
        self._topic = topic
        self._name = topic.name if copy is None else copy
        self._is_copy = copy is not None
        self._decoder = Decoder(bus.catalog, topic.event_type)
        self._keeps_leaves = keeps_leaves
        self.tallies: list[ReplayCounts] = []
        self.added: str | None = None

    def events(self, wanted: ReplayFilter) -> Iterator[pl.DataFrame]:
        """Frames of verified events, partition by partition, each in leaf order.

        Raises:
            SealBroken: the topic is not what its owner sealed; nothing of that batch is handed out.
            PartitionsDiffer: it has fewer partitions than the agreement says.
            Unavailable: the broker is away.
        """
        for number in self.partitions():
            yield from self.partition(number, wanted)

    def partition(
        self, number: int, wanted: ReplayFilter, sizes: AbstractSet[int] = frozenset()
    ) -> Iterator[pl.DataFrame]:
        """As `events`, for one partition.

        Args:
            sizes: the trees whose roots are to be noted in its tally.
        """
        tally = self._tally(number)
        for batch in self._batches(tally, sizes):
            for part in self._decoder.parts(batch):
                for each in part.unfit:
                    tally.unfit.add(each.reason, each.message.offset, each.message.leaf_index)
                not_agreed = self._bus.agreed.violations(self._topic, part.events)
                for index, why in not_agreed.items():
                    tally.not_agreed.add(why, batch.message(index).offset, index)
                chosen = wanted.choose(part.events)
                tally.shown += chosen.height
                tally.elsewhen += wanted.elsewhen(part.events).to_list()
                yield chosen

    def verify(self, number: int, sizes: AbstractSet[int] = frozenset()) -> ReplayCounts:
        """What one partition holds, without looking into its events.

        Raises:
            SealBroken: as `events`; what holds is in the tally all the same.
        """
        tally = self._tally(number)
        for _ in self._batches(tally, sizes):
            pass
        return tally

    def nothing(self) -> pl.DataFrame:
        """A frame without events, for its columns."""
        return self._decoder.empty_frame()

    def partitions(self) -> range:
        """The numbers of its partitions that the agreement knows; others hold no event.

        Raises:
            NotAgreed: no agreement speaks of the topic.
            PartitionsDiffer: it has fewer partitions than the agreement says.
            ReplayRefused: a copy is not there, or has fewer.
            Unavailable: the broker is away, or does not have it.
        """
        expected = self._bus.agreements.partitions(self._topic)
        admin = open_admin(self._bus.connection)
        if self._is_copy:
            return self._partitions_of_copy(admin, expected)
        found = partition_count(admin, self._name)
        if found < expected:
            raise errors.PartitionsDiffer(self._name, found, expected)
        self.added = added(self._name, found, expected)
        return range(expected)

    def _partitions_of_copy(self, admin: Admin, expected: int) -> range:
        """As `partitions`, without advice to make or to change what may be evidence."""
        there = describe(admin, [self._name]).get(self._name)
        if there is None:
            raise errors.ReplayRefused(f"there is no topic {self._name} on these brokers")
        count = len(there.partitions)
        said = f"the copy {self._name} has {counted(count, 'partition')}, and {expected} are agreed"
        if count < expected:
            raise errors.ReplayRefused(f"{said} for {self._topic.name}; it is no whole copy")
        if count > expected:
            self.added = f"{said}: the further ones are not read"
        return range(expected)

    def _tally(self, number: int) -> ReplayCounts:
        tally = ReplayCounts(number, leaves=bytearray() if self._keeps_leaves else None)
        self.tallies.append(tally)
        return tally

    def _batches(self, tally: ReplayCounts, sizes: AbstractSet[int]) -> Iterator[VerifiedBatch]:
        number, tree, ordered = tally.partition, Frontier.empty(), sorted(sizes)
        keys = self._bus.agreements.ring(self._topic, number)
        bus = self._bus.agreements.bus
        partition = Partition(bus, self._topic, number, keys, tree, compare=True)
        tally.noise, tally.history = partition.noise, partition.history
        with open_scan(self._bus.connection, TopicPartition(self._name, number)) as scan:
            for batch in _read(scan, partition, tally):
                tally.take(batch, tree, ordered)
                tree = batch.frontier
                yield batch


def _read(
    scan: PartitionScan, partition: Partition, tally: ReplayCounts
) -> Iterator[VerifiedBatch]:
    """The verified batches of a partition from its first message to its last one of now.

    Raises:
        SealBroken: what is there is not what its owner sealed.
    """
    low, high = scan.bounds()
    start: int | None = low
    while start is not None:
        for chunk in scan.read(start, high):
            batch = partition.receive(chunk)
            _report(scan, partition)
            tally.offsets = (partition.next_offset, high)
            if batch:
                yield batch
            if partition.rewind is not None:
                break
        _report(scan, partition)
        partition.end()
        while partition.rewind is None and (batch := partition.cut()):
            yield batch
        tally.unsealed, tally.resends = partition.pending, partition.resends
        start, partition.rewind = partition.rewind, None


def _report(scan: PartitionScan, partition: Partition) -> None:
    """Count the batches that cannot be read among what was skipped."""
    for each in scan.drain_unreadable():
        partition.noise.add(each.cause, each.offset)


def differing_leaf(bus: Bus, partition: int, leaves: range, one: str, other: str) -> int | None:
    """The first leaf of a batch in which two copies of a topic differ, or None.

    A root tells that a batch is wrong, not which leaf of it is: only a second copy can.
    """
    ours, theirs = (_hashes(bus.connection, name, partition, leaves) for name in (one, other))
    return next((at for at in leaves if ours.get(at) != theirs.get(at)), None)


def _hashes(connection: Connection, topic: str, partition: int, leaves: range) -> dict[int, bytes]:
    """The hashes of some leaves: the leaves themselves may be of any size."""
    found: dict[int, bytes] = {}
    with open_scan(connection, TopicPartition(topic, partition)) as scan:
        _, high = scan.bounds()
        for chunk in scan.read(scan.find(leaves.start), high):
            for each in map(parsed, chunk):
                if each and each.leaf_index in leaves:
                    found.setdefault(each.leaf_index, leaf_hash(each.leaf_data))
            if len(found) == len(leaves):
                break
    return found
