"""Replay: a topic read again from its first leaf, verified, and handed out as frames of events.

It has no side effects by construction: it joins no group, commits no offset and has no producer.
What does not stand under a valid checkpoint is never handed out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING

import polars as pl

from sinergi_consumers.decoding import Decoder
from sinergi_consumers.log import open_log
from sinergi_consumers.partition import Partition
from sinergi_schemas import errors, message
from sinergi_schemas.kafka.admin import open_admin, partition_count
from sinergi_schemas.seal.merkle import Frontier, leaf_hash
from sinergi_schemas.seal.noise import Noise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sinergi_consumers.bus import Bus
    from sinergi_consumers.decoding import Unfit
    from sinergi_consumers.log import Log
    from sinergi_consumers.partition import Batch
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.message import Received
    from sinergi_schemas.topics import Topic


@dataclass(frozen=True, slots=True)
class Wanted:
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
        if self.since is not None:
            events = events.filter(pl.col("recorded_at") >= self.since.astimezone(UTC))
        if self.until is not None:
            events = events.filter(pl.col("recorded_at") < self.until.astimezone(UTC))
        if self.record_id is not None:
            events = events.filter(pl.col("record_id") == self.record_id)
        return events


@dataclass(slots=True)
class Tally:
    """What a replay has seen of one partition.

    Attributes:
        verified: leaves under a valid checkpoint.
        offsets: how far it is on the topic, and where the topic ends.
        unsealed: messages behind the last checkpoint; their batch is not complete yet.
        roots: of the trees under the checkpoints, by size.
        note: the last checkpoint, as its owner signed it; empty before the first.
        shown: events that were handed out.
        unfit: events under the seal that do not decode or contradict themselves.
        not_agreed: events that no agreement allows, by leaf, and why; they are handed out all the
            same.
        noise: messages that no checkpoint covers and that were skipped.
    """

    partition: int
    verified: int = 0
    unsealed: int = 0
    offsets: tuple[int, int] = (0, 0)
    roots: dict[int, bytes] = field(default_factory=dict)
    note: str = ""
    shown: int = 0
    unfit: list[Unfit] = field(default_factory=list)
    not_agreed: dict[int, str] = field(default_factory=dict)
    noise: Noise = field(default_factory=Noise)


class Replay:
    """One topic being replayed.

    Args:
        copy: the topic to read instead, which is said to be a copy; its messages must still bear
            the seal of `topic`.
    """

    def __init__(self, bus: Bus, topic: Topic, copy: str | None = None) -> None:
        self._bus = bus
        self._topic = topic
        self._name = copy or topic.name
        self._decoder = Decoder(bus.catalog, topic.event_type)
        self.tallies: list[Tally] = []

    def events(self, wanted: Wanted) -> Iterator[pl.DataFrame]:
        """Frames of verified events, partition by partition, each in leaf order.

        Raises:
            SealBroken: the topic is not what its owner sealed; nothing of that batch is handed out.
            PartitionsDiffer: it has other partitions than the agreement says.
            Unavailable: the broker is away.
        """
        for number in self.partitions():
            yield from self.partition(number, wanted)

    def partition(self, number: int, wanted: Wanted) -> Iterator[pl.DataFrame]:
        """As `events`, for one partition."""
        for batch in self._batches(number):
            decoded = self._decoder.decode(batch)
            tally = self.tallies[-1]
            tally.unfit.extend(decoded.unfit)
            tally.not_agreed |= self._bus.agreed.violations(self._topic, decoded.events)
            chosen = wanted.choose(decoded.events)
            tally.shown += chosen.height
            yield chosen

    def verify(self, number: int) -> Tally:
        """What one partition holds, without looking into its events."""
        for _ in self._batches(number):
            pass
        return self.tallies[-1]

    def nothing(self) -> pl.DataFrame:
        """A frame without events, for its columns."""
        return self._decoder.nothing()

    def partitions(self) -> range:
        """The numbers of its partitions.

        Raises:
            NotAgreed: no agreement speaks of the topic.
            PartitionsDiffer: it has other partitions than the agreement says.
            Unavailable: the broker is away, or does not have it.
        """
        expected = self._bus.agreements.partitions(self._topic)
        found = partition_count(open_admin(self._bus.connection), self._name)
        if found != expected:
            raise errors.PartitionsDiffer(self._name, found, expected)
        return range(found)

    def _batches(self, number: int) -> Iterator[Batch]:
        tally = Tally(number)
        self.tallies.append(tally)
        keys = self._bus.agreements.ring(self._topic, number)
        partition = Partition(
            self._bus.agreements.bus, self._topic, number, keys, Frontier.empty(), compare=True
        )
        tally.noise = partition.noise
        with open_log(self._bus.connection, self._name, number) as log:
            for batch in _read(log, partition, tally):
                tally.verified, tally.note = batch.end, batch.checkpoints[-1].note
                tally.roots.update((each.end, each.root) for each in batch.checkpoints)
                yield batch


def _read(log: Log, partition: Partition, tally: Tally) -> Iterator[Batch]:
    """The verified batches of a partition from its first message to its last one of now.

    Raises:
        SealBroken: what is there is not what its owner sealed.
    """
    low, high = log.bounds()
    start: int | None = low
    while start is not None:
        for chunk in log.read(start, high):
            batch = partition.receive(chunk)
            tally.offsets = (partition.next_offset, high)
            tally.unsealed = partition.pending
            if batch:
                yield batch
            if partition.rewind is not None:
                break
        while partition.rewind is None and (batch := partition.cut(final=True)):
            yield batch
        tally.unsealed = partition.pending
        start, partition.rewind = partition.rewind, None


def differing_leaf(bus: Bus, partition: int, leaves: range, one: str, other: str) -> int | None:
    """The first leaf of a batch in which two copies of a topic differ, or None.

    A root tells that a batch is wrong, not which leaf of it is: only a second copy can.
    """
    ours, theirs = (_hashes(bus.connection, name, partition, leaves) for name in (one, other))
    return next((at for at in leaves if ours.get(at) != theirs.get(at)), None)


def _hashes(connection: Connection, topic: str, partition: int, leaves: range) -> dict[int, bytes]:
    """The hashes of some leaves: the leaves themselves may be of any size."""
    found: dict[int, bytes] = {}
    with open_log(connection, topic, partition) as log:
        _, high = log.bounds()
        for chunk in log.read(log.find(leaves.start), high):
            for each in map(_parsed, chunk):
                if each and each.leaf_index in leaves:
                    found.setdefault(each.leaf_index, leaf_hash(each.leaf_data))
            if len(found) == len(leaves):
                break
    return found


def _parsed(received: Received) -> message.Message | None:
    """The message; None where it is not one of ours."""
    try:
        return message.parse(received)
    except errors.MessageMalformed:
        return None
