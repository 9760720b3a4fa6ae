"""What the brokers have: topics, how many leaves they show, who reads, and what owners have signed.

Only the ends of the topic-partitions are read, outside every consumer group, and all at once.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE

from sinergi.status.copies import PartitionCopies
from sinergi.status.facts import ShownLeaves
from sinergi.status.signed_heads import find_heads
from sinergi_consumers.reading.position import TopicIncarnation
from sinergi_schemas import errors
from sinergi_schemas.clock import from_posix_time
from sinergi_schemas.kafka.admin import bounds, cluster_id, describe, open_admin
from sinergi_schemas.kafka.groups import settled_members
from sinergi_schemas.kafka.leaf_search import claimed_leaf
from sinergi_schemas.kafka.ranges import RangeReader
from sinergi_schemas.kafka.scan import PartitionScan
from sinergi_schemas.message import parsed_or_none
from sinergi_schemas.seal import checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from confluent_kafka import Message

    from sinergi.status.signed_heads import FoundHeads
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.unreadable import Unreadable
    from sinergi_schemas.topics import TopicPartition


# Foreign messages, or a batch that is being sent, may follow the last checkpoint. The first step
# reads FIRST_MESSAGES, and each further one ten times as many, until enough is known.
FIRST_MESSAGES = 100
MOST_MESSAGES = 10_000
# How many messages at the beginning of a topic-partition are searched for its first leaf, by steps.
_FIRST_LENGTHS = (1, FIRST_MESSAGES, MOST_MESSAGES)


@dataclass(frozen=True, slots=True)
class ExpectedLeaves:
    """What is known of a topic-partition before it is read.

    Attributes:
        leaves: how many it has had: its owner has signed them, or the tables hold them.
        offset: the one from which it is read on into the tables; None where that is not known.
    """

    leaves: int
    offset: int | None

    def is_shown(self, leaves: int | None) -> bool:
        """Whether a partition that shows `leaves` leaves shows all that it is known to have had.

        None stands for no checkpoint.
        """
        return leaves is not None and leaves >= self.leaves


@dataclass(frozen=True, slots=True)
class BrokerTopic:
    """A topic as the brokers describe it."""

    incarnation: TopicIncarnation
    copies: tuple[PartitionCopies, ...]

    @property
    def partitions(self) -> int:
        """How many it has."""
        return len(self.copies)


@dataclass(frozen=True, slots=True)
class ConsumerGroup:
    """A consumer group.

    Attributes:
        members: how many members have the client id of our clients.
        hosts: the host that reads each topic-partition.
        foreign: descriptions of the other members.
        unreadable: why the members are unknown; None if they are known.
    """

    members: int
    hosts: Mapping[TopicPartition, str]
    foreign: tuple[str, ...] = ()
    unreadable: str | None = None


@dataclass(slots=True)
class _Found:
    """What was read of topic-partitions.

    Attributes:
        leaves: the size of the largest checkpoint of the owner.
        unsigned: the offsets of checkpoints that no key in the agreements has signed.
        malformed: the offsets of messages that are not of Sinergi's form.
    """

    leaves: dict[TopicPartition, int] = field(default_factory=dict)
    unsigned: dict[TopicPartition, set[int]] = field(default_factory=lambda: defaultdict(set))
    malformed: dict[TopicPartition, set[int]] = field(default_factory=lambda: defaultdict(set))

    def strays(self, tp: TopicPartition) -> int:
        """How many messages its owner did not send; without a signed one that is unknown."""
        return len(self.malformed[tp] | self.unsigned[tp]) if tp in self.leaves else 0


class Broker:
    """The brokers, looked at once.

    Every method raises what `sinergi_schemas.kafka.faults.translate` makes of the brokers' errors.

    Args:
        silent_seconds: see `RangeReader`.
    """

    def __init__(self, connection: Connection, silent_seconds: float) -> None:
        self._admin = open_admin(connection)
        self._reader = RangeReader(connection, silent_seconds)

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()

    def topics(self, names: Iterable[str]) -> dict[str, BrokerTopic]:
        """Describe those of some topics that exist."""
        cluster = cluster_id(self._admin)
        return {
            name: BrokerTopic(
                TopicIncarnation(cluster, str(each.topic_id)),
                tuple(PartitionCopies(len(p.replicas), len(p.isr)) for p in each.partitions),
            )
            for name, each in describe(self._admin, names).items()
        }

    def bounds(self, wanted: Iterable[TopicPartition]) -> dict[TopicPartition, range]:
        """The offsets of each topic-partition, from its first message to its last."""
        return bounds(self._admin, wanted)

    def leaves(
        self,
        agreements: Agreements,
        offsets: Mapping[TopicPartition, range],
        known: Mapping[TopicPartition, ExpectedLeaves],
    ) -> dict[TopicPartition, ShownLeaves]:
        """The leaves of topic-partitions by the checkpoints of their owners near their ends.

        Anybody may have appended old messages of the owner, or messages of his own. So a
        topic-partition that shows less than is known of it is read from further back.

        Args:
            offsets: the offsets that each topic-partition has.
        """
        found = _Found()
        unread, length = dict(offsets), FIRST_MESSAGES
        while unread and length <= MOST_MESSAGES:
            self._find_checkpoints(found, agreements, _last(unread, length))
            unread = {
                tp: rest
                for tp, each in unread.items()
                if not known[tp].is_shown(found.leaves.get(tp)) and (rest := each[:-length])
            }
            length *= 10
        self._find_checkpoints(found, agreements, _near_positions(unread, known))
        first = self._first_leaves({tp: offsets[tp] for tp in found.leaves})
        return {
            tp: ShownLeaves(
                found.leaves.get(tp, 0),
                tp not in unread or known[tp].is_shown(found.leaves.get(tp)),
                len(each),
                first.get(tp, 0),
                len(each) <= MOST_MESSAGES,
                bool(found.unsigned[tp]) and tp not in found.leaves,
                found.strays(tp),
            )
            for tp, each in offsets.items()
        }

    def heads(
        self, agreements: Agreements, controls: Mapping[str, TopicPartition], now: datetime
    ) -> dict[str, FoundHeads]:
        """The newest heads that agencies have signed, by the control topic of each.

        Args:
            controls: those that exist.
        """
        offsets = self.bounds(controls.values())
        return find_heads(self._reader, agreements, controls, offsets, now)

    def drain_unreadable(self) -> list[Unreadable]:
        """The batches that could not be read and were passed over since the last call."""
        return self._reader.drain_unreadable()

    def first_at(
        self, tp: TopicPartition, offsets: range, index: int, offset: int | None
    ) -> datetime | None:
        """The broker's time of the first message with a leaf or a later one; None without one.

        Args:
            offsets: the offsets that the topic-partition has.
            index: of the leaf.
            offset: where to begin, if that is known; otherwise it is searched for.
        """
        if offset is None or not offsets.start <= offset <= offsets.stop:
            offset = PartitionScan(self._reader, tp).find(index)
        for _, received in self._reader.messages({tp: range(offset, offsets.stop)}):
            leaf = claimed_leaf(received)
            if leaf is not None and leaf >= index:
                return _time(received)
        return None

    def _find_checkpoints(
        self,
        found: _Found,
        agreements: Agreements,
        ranges: Mapping[TopicPartition, range],
    ) -> None:
        """Add what the checkpoints in some ranges show to `found`."""
        for tp, received in self._reader.messages(ranges):
            parsed = parsed_or_none(received)
            if parsed is None:
                found.malformed[tp].add(_offset(received))
                continue
            if parsed.sealed is None:
                continue
            size = _signed_size(parsed.sealed.note, agreements, tp)
            if size is None:
                found.unsigned[tp].add(_offset(received))
            else:
                found.leaves[tp] = max(found.leaves.get(tp, 0), size)

    def _first_leaves(
        self, offsets: Mapping[TopicPartition, range]
    ) -> dict[TopicPartition, int | None]:
        """The lowest leaf that the first messages claim; None where they claim none."""
        lowest: dict[TopicPartition, int | None] = dict.fromkeys(offsets)
        for length in _FIRST_LENGTHS:
            unsure = {tp: each[:length] for tp, each in offsets.items() if lowest[tp] != 0}
            for tp, received in self._reader.messages(unsure):
                leaf, known = claimed_leaf(received), lowest[tp]
                if leaf is not None and (known is None or leaf < known):
                    lowest[tp] = leaf
        return lowest


def consumer_group(connection: Connection, name: str) -> ConsumerGroup:
    """Describe a consumer group; it has no members where no group has that name.

    Raises:
        SinergiError: see `sinergi_schemas.kafka.groups.settled_members`.
    """
    found = settled_members(open_admin(connection), name)
    hosts = {tp: each.host for each in found.members for tp in each.partitions}
    foreign = tuple(str(each) for each in found.members if not each.is_ours)
    return ConsumerGroup(len(found.members) - len(foreign), hosts, foreign, found.unreadable)


def _last(offsets: Mapping[TopicPartition, range], count: int) -> dict[TopicPartition, range]:
    """The last offsets of each topic-partition, at most `count`."""
    return {tp: each[-count:] for tp, each in offsets.items()}


def _near_positions(
    offsets: Mapping[TopicPartition, range], known: Mapping[TopicPartition, ExpectedLeaves]
) -> dict[TopicPartition, range]:
    """The offsets before and after those from which partitions are read on into the tables."""
    found: dict[TopicPartition, range] = {}
    for tp, each in offsets.items():
        offset = known[tp].offset
        if offset is not None and each.start <= offset <= each.stop:
            start = max(each.start, offset - FIRST_MESSAGES)
            found[tp] = range(start, min(each.stop, start + MOST_MESSAGES))
    return found


def _signed_size(note: str, agreements: Agreements, tp: TopicPartition) -> int | None:
    """The tree size of a checkpoint; None where the owner of the topic has not signed it."""
    ring = agreements.ring(tp.event_topic, tp.partition)
    try:
        return checkpoint.verify(note, tp.origin(agreements.bus), ring).size
    except errors.SealBroken:
        return None


def _offset(received: Message) -> int:
    offset = received.offset()
    assert offset is not None  # it was read from a broker
    return offset


def _time(received: Message) -> datetime | None:
    """When the broker has stamped a message; None where it has not."""
    kind, milliseconds = received.timestamp()
    if kind == TIMESTAMP_NOT_AVAILABLE:
        return None
    return from_posix_time(milliseconds / 1000)
