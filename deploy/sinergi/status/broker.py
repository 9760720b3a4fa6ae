"""What the brokers tell: topics, how many leaves they show, who reads, and what owners signed.

Only the ends of the partitions are read, outside every consumer group, and all at once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import confluent_kafka
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, KafkaException
from confluent_kafka.admin import OffsetSpec

from sinergi_consumers.reading.position import TopicIncarnation
from sinergi_schemas import errors, message
from sinergi_schemas.clock import SYSTEM, from_posix_time
from sinergi_schemas.kafka.admin import cluster_id, describe, offsets, open_admin
from sinergi_schemas.kafka.consumer import open_consumer
from sinergi_schemas.kafka.faults import raise_for, translated
from sinergi_schemas.kafka.groups import members
from sinergi_schemas.kafka.scan import find_offset
from sinergi_schemas.seal import checkpoint, heads
from sinergi_schemas.topics import Topic, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from confluent_kafka import Message

    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.consumer import ReadingConsumer
    from sinergi_schemas.seal.heads import SignedHeads


# Messages of others, and a batch under way, do not hide how far a topic is: the first look is at so
# many messages, and further ones at ten times as many each.
FIRST_MESSAGES = 100
MOST_MESSAGES = 10_000
_CONTROL_MESSAGES = 5_000
_MOST_NOTES = 64
_SECONDS = 10.0
_POLL_SECONDS = 0.1
_CHUNK = 32  # fetched at a time: a message may be a megabyte
_HEADS = b"heads"


@dataclass(frozen=True, slots=True)
class Bounds:
    """The first offset of a partition, and the one behind its last message."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class ExpectedLeaves:
    """What is known of a partition before it is looked at.

    Attributes:
        leaves: that it has had: its owner has signed them, or the tables hold them.
        offset: from which it is read on into the tables; None where that is not known.
    """

    leaves: int
    offset: int | None

    def is_shown(self, leaves: int | None) -> bool:
        """Whether so many leaves are all that it has had; None stands for no checkpoint at all."""
        return leaves is not None and leaves >= self.leaves


@dataclass(frozen=True, slots=True)
class Shown:
    """How many leaves a partition shows, and whether that tells how many there are.

    It does where all of the partition was read, or where it shows all that is known of it.
    """

    leaves: int
    is_complete: bool


@dataclass(frozen=True, slots=True)
class BrokerTopic:
    """A topic as the brokers have it."""

    place: TopicIncarnation
    partitions: int


@dataclass(frozen=True, slots=True)
class ConsumerGroup:
    """A consumer group: its members of ours, which host has each partition, and other members."""

    members: int
    hosts: Mapping[TopicPartition, str]
    foreign: tuple[str, ...] = ()


class Broker:
    """One look at the brokers.

    Every method raises what `sinergi_schemas.kafka.faults.translate` makes of the brokers' errors.
    """

    def __init__(self, connection: Connection) -> None:
        self._admin = open_admin(connection)
        self._consumer: ReadingConsumer = open_consumer(connection, None)

    def close(self) -> None:
        """Give the connection back."""
        self._consumer.close()

    def topics(self, names: Iterable[str]) -> dict[str, BrokerTopic]:
        """The topics among these that exist."""
        cluster = cluster_id(self._admin)
        return {
            name: BrokerTopic(TopicIncarnation(cluster, str(each.topic_id)), len(each.partitions))
            for name, each in describe(self._admin, names).items()
        }

    def bounds(self, wanted: Iterable[TopicPartition]) -> dict[TopicPartition, Bounds]:
        """Where partitions begin and end at this moment."""
        places = [confluent_kafka.TopicPartition(*each) for each in wanted]
        low = self._offsets(places, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        high = self._offsets(places, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        return {each: Bounds(low[each], high[each]) for each in high}

    def leaves(
        self,
        agreements: Agreements,
        bounds: Mapping[TopicPartition, Bounds],
        known: Mapping[TopicPartition, ExpectedLeaves],
    ) -> dict[TopicPartition, Shown]:
        """How many leaves partitions show by the checkpoints of their owners near their ends.

        Anybody may have appended old messages of the owner, or his own. So it is looked further
        back while a partition shows less than is known of it.
        """
        found: dict[TopicPartition, int] = {}
        end, length = dict(bounds), FIRST_MESSAGES
        while end and length <= MOST_MESSAGES:
            self._cover(found, agreements, self._tails(end, length))
            # What was read is not read again.
            end = {
                each: Bounds(within.low, within.high - length)
                for each, within in end.items()
                if not known[each].is_shown(found.get(each)) and within.high - length > within.low
            }
            length *= 10
        self._cover(found, agreements, self._read_on(end, known))
        return {
            each: Shown(
                found.get(each, 0), each not in end or known[each].is_shown(found.get(each))
            )
            for each in bounds
        }

    def heads_notes(
        self, bounds: Mapping[TopicPartition, Bounds]
    ) -> dict[TopicPartition, list[bytes]]:
        """The newest heads in the tails of control topics, as they stand there, oldest first."""
        found: dict[TopicPartition, deque[bytes]] = {}
        for number, received in self._tails(bounds, _CONTROL_MESSAGES):
            if received.key() == _HEADS:
                notes = found.setdefault(number, deque(maxlen=_MOST_NOTES))
                notes.append((received.value() or b"")[: heads.MOST_BYTES + 1])
        return {number: [*notes] for number, notes in found.items()}

    def heads(
        self, agreements: Agreements, agency: str, notes: Sequence[bytes]
    ) -> SignedHeads | None:
        """The newest heads that an agency has signed among some; None if there are none at all.

        Raises:
            SealBroken: none of them is what the agency signed.
        """
        best: SignedHeads | None = None
        broken: errors.SealBroken | None = None
        for note in notes:
            try:
                stated = heads.verify(
                    note.decode(errors="replace"), agreements.bus, agency, agreements.keys(agency)
                )
            except errors.SealBroken as why:
                broken = why
            else:
                if best is None or _newness(stated) >= _newness(best):
                    best = stated
        if best is None and broken:
            raise broken
        return agreements.credible(best) if best else None

    def first_at(
        self, number: TopicPartition, within: Bounds, index: int, offset: int | None
    ) -> datetime | None:
        """The broker's time of the first message at or behind a leaf; None where there is none.

        Args:
            offset: where to begin, if that is known; else it is looked for.
        """
        if offset is None or not within.low <= offset <= within.high:
            offset = find_offset(
                within.low, within.high, index, lambda at: self._index_at(number, within, at)
            )
        for _, received in self._read({number: offset}, {number: within}):
            at = leaf_index(received)
            if at is not None and at >= index:
                return _time(received)
        return None

    def group(self, name: str) -> ConsumerGroup:
        """Who is in a consumer group; nobody where there is none of that name."""
        found = members(self._admin, name)
        hosts = {tp: each.host for each in found for tp in each.partitions}
        foreign = tuple(str(each) for each in found if not each.is_ours)
        return ConsumerGroup(len(found) - len(foreign), hosts, foreign)

    def _read_on(
        self,
        bounds: Mapping[TopicPartition, Bounds],
        known: Mapping[TopicPartition, ExpectedLeaves],
    ) -> Iterator[tuple[TopicPartition, Message]]:
        """What lies about the place from which partitions are read on into the tables."""
        starts: dict[TopicPartition, int] = {}
        ends: dict[TopicPartition, Bounds] = {}
        for each, within in bounds.items():
            offset = known[each].offset
            if offset is not None and within.low <= offset <= within.high:
                starts[each] = max(within.low, offset - FIRST_MESSAGES)
                ends[each] = Bounds(within.low, min(within.high, starts[each] + MOST_MESSAGES))
        return self._read(starts, ends)

    @staticmethod
    def _cover(
        found: dict[TopicPartition, int],
        agreements: Agreements,
        messages: Iterable[tuple[TopicPartition, Message]],
    ) -> None:
        """Take the largest checkpoint of each partition's owner out of some messages."""
        for number, received in messages:
            size = _covered(received, agreements, number)
            if size is not None:
                found[number] = max(found.get(number, 0), size)

    def _tails(
        self, bounds: Mapping[TopicPartition, Bounds], length: int
    ) -> Iterator[tuple[TopicPartition, Message]]:
        """The last messages of each partition, one at a time: none of them is kept."""
        starts = {
            each: max(within.low, within.high - length)
            for each, within in bounds.items()
            if within.high > within.low
        }
        return self._read(starts, bounds)

    def _offsets(
        self, places: Sequence[confluent_kafka.TopicPartition], spec: OffsetSpec
    ) -> dict[TopicPartition, int]:
        return {
            TopicPartition(each.topic, each.partition): each.offset
            for each in offsets(self._admin, places, spec)
        }

    def _index_at(self, number: TopicPartition, within: Bounds, offset: int) -> int | None:
        read = self._read({number: offset}, {number: within})
        return next((at for _, each in read if (at := leaf_index(each)) is not None), None)

    def _read(
        self, starts: Mapping[TopicPartition, int], bounds: Mapping[TopicPartition, Bounds]
    ) -> Iterator[tuple[TopicPartition, Message]]:
        """The messages of partitions from their starts to their ends, as they come.

        Raises:
            TopicAway: a partition says nothing for a while before its end.
        """
        missing = {each: bounds[each].high for each in starts if starts[each] < bounds[each].high}
        self._assign({each: starts[each] for each in missing})
        deadline = SYSTEM.monotonic() + _SECONDS
        while missing:
            chunk = self._consumer.consume(_CHUNK, _POLL_SECONDS)
            for each in chunk:
                raise_for(each.error())
                number = TopicPartition(each.topic() or "", each.partition() or 0)
                offset = each.offset() or 0
                if offset < bounds[number].high:
                    yield number, each
            if chunk or self._consumer.drain_unreadable():
                deadline = SYSTEM.monotonic() + _SECONDS
            for number in self._arrived(missing):
                del missing[number]
            if SYSTEM.monotonic() > deadline:
                raise errors.TopicAway(next(iter(missing))[0], "silent before its end")

    def _assign(self, starts: Mapping[TopicPartition, int]) -> None:
        try:
            self._consumer.assign(
                [confluent_kafka.TopicPartition(*each, at) for each, at in starts.items()]
            )
        except KafkaException as why:
            raise translated(why) from None

    def _arrived(self, ends: Mapping[TopicPartition, int]) -> list[TopicPartition]:
        """The partitions that are read to their end; a position passes what is no message."""
        try:
            positions = self._consumer.position(
                [confluent_kafka.TopicPartition(*each) for each in ends]
            )
        except KafkaException as why:
            raise translated(why) from None
        return [
            TopicPartition(each.topic, each.partition)
            for each in positions
            if each.offset >= ends[TopicPartition(each.topic, each.partition)]
        ]


def _covered(received: Message, agreements: Agreements, number: TopicPartition) -> int | None:
    """The tree size of the owner's checkpoint that a message bears; None where there is none."""
    topic, partition = Topic.parse(number[0]), number[1]
    origin = f"{agreements.bus}/{topic.name}/{partition}"
    try:
        sealed = message.parse(received).sealed
        if sealed is None:
            return None
        return checkpoint.verify(sealed.note, origin, agreements.ring(topic, partition)).size
    except (errors.MessageMalformed, errors.SealBroken):
        return None


def leaf_index(received: Message) -> int | None:
    """The leaf that a message says it is; None where it is no message of ours."""
    try:
        return message.parse(received).leaf_index
    except errors.MessageMalformed:
        return None


def _time(received: Message) -> datetime | None:
    kind, milliseconds = received.timestamp()
    if kind == TIMESTAMP_NOT_AVAILABLE:
        return None
    return from_posix_time(milliseconds / 1000)


def _newness(stated: SignedHeads) -> tuple[int, int]:
    """What orders heads: within one second, which is all that they tell, their leaves do."""
    return stated.posix_time, sum(each.size for each in stated.heads)
