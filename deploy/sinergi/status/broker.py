"""What the brokers have: topics, how many leaves they show, who reads, and what owners have signed.

Only the ends of the topic-partitions are read, outside every consumer group, and all at once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE

from sinergi_consumers.reading.position import TopicIncarnation
from sinergi_schemas import errors, message
from sinergi_schemas.clock import from_posix_time
from sinergi_schemas.kafka.admin import bounds, cluster_id, describe, open_admin
from sinergi_schemas.kafka.groups import members
from sinergi_schemas.kafka.leaf_search import claimed_leaf
from sinergi_schemas.kafka.scan import PartitionScan, RangeReader
from sinergi_schemas.seal import checkpoint, heads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from confluent_kafka import Message

    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.unreadable import Unreadable
    from sinergi_schemas.seal.heads import SignedHeads
    from sinergi_schemas.topics import TopicPartition


# A checkpoint may lie behind messages of others, and behind a batch that is being sent. So many
# messages are read first, and then ten times as many each, until enough is known.
FIRST_MESSAGES = 100
MOST_MESSAGES = 10_000
_CONTROL_MESSAGES = 5_000
_MOST_NOTES = 64
_HEADS = b"heads"


@dataclass(frozen=True, slots=True)
class ExpectedLeaves:
    """What is known of a topic-partition before it is read.

    Attributes:
        leaves: how many it has had: its owner has signed them, or the tables hold them.
        offset: from which it is read on into the tables; None where that is not known.
    """

    leaves: int
    offset: int | None

    def is_shown(self, leaves: int | None) -> bool:
        """Whether so many leaves are all that it has had; None stands for no checkpoint."""
        return leaves is not None and leaves >= self.leaves


@dataclass(frozen=True, slots=True)
class Shown:
    """How many leaves a topic-partition shows.

    Attributes:
        is_complete: it has no more leaves than it shows: all of it was read, or it shows all that
            is known of it.
    """

    leaves: int
    is_complete: bool


@dataclass(frozen=True, slots=True)
class BrokerTopic:
    """A topic as the brokers describe it."""

    incarnation: TopicIncarnation
    partitions: int


@dataclass(frozen=True, slots=True)
class ConsumerGroup:
    """A consumer group.

    Attributes:
        members: how many members have the client id of our clients.
        hosts: the host that reads each topic-partition.
        foreign: descriptions of the other members.
    """

    members: int
    hosts: Mapping[TopicPartition, str]
    foreign: tuple[str, ...] = ()


class Broker:
    """The brokers, looked at once.

    Every method raises what `sinergi_schemas.kafka.faults.translate` makes of the brokers' errors.

    Args:
        silent_seconds: as of `RangeReader`.
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
            name: BrokerTopic(TopicIncarnation(cluster, str(each.topic_id)), len(each.partitions))
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
    ) -> dict[TopicPartition, Shown]:
        """How many leaves topic-partitions show by the checkpoints of their owners near their ends.

        Anybody may have appended old messages of the owner, or messages of his own. So a
        topic-partition that shows less than is known of it is read from further back.

        Args:
            offsets: the offsets that each topic-partition has.
        """
        found: dict[TopicPartition, int] = {}
        unread, length = dict(offsets), FIRST_MESSAGES
        while unread and length <= MOST_MESSAGES:
            self._find_checkpoints(found, agreements, _last(unread, length))
            unread = {
                tp: rest
                for tp, each in unread.items()
                if not known[tp].is_shown(found.get(tp)) and (rest := each[:-length])
            }
            length *= 10
        self._find_checkpoints(found, agreements, _near_positions(unread, known))
        return {
            tp: Shown(found.get(tp, 0), tp not in unread or known[tp].is_shown(found.get(tp)))
            for tp in offsets
        }

    def heads_notes(
        self, offsets: Mapping[TopicPartition, range]
    ) -> dict[TopicPartition, list[bytes]]:
        """The newest heads near the ends of control topics, not verified, oldest first.

        Args:
            offsets: the offsets that each control topic has.
        """
        found: dict[TopicPartition, deque[bytes]] = {}
        for tp, received in self._reader.messages(_last(offsets, _CONTROL_MESSAGES)):
            if received.key() == _HEADS:
                notes = found.setdefault(tp, deque(maxlen=_MOST_NOTES))
                notes.append((received.value() or b"")[: heads.MOST_BYTES + 1])
        return {tp: [*notes] for tp, notes in found.items()}

    def drain_unreadable(self) -> list[Unreadable]:
        """The batches that could not be read and were passed over since the last call."""
        return self._reader.drain_unreadable()

    def heads(
        self, agreements: Agreements, agency: str, notes: Sequence[bytes]
    ) -> SignedHeads | None:
        """The newest heads that an agency has signed among some notes; None without any note.

        Raises:
            SealBroken: the agency has signed none of them.
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
        self, tp: TopicPartition, offsets: range, index: int, offset: int | None
    ) -> datetime | None:
        """The broker's time of the first message at or behind a leaf; None where there is none.

        Args:
            offsets: the offsets that the topic-partition has.
            offset: where to begin, if that is known; otherwise it is searched.
        """
        if offset is None or not offsets.start <= offset <= offsets.stop:
            offset = PartitionScan(self._reader, tp).find(index)
        for _, received in self._reader.messages({tp: range(offset, offsets.stop)}):
            leaf = claimed_leaf(received)
            if leaf is not None and leaf >= index:
                return _time(received)
        return None

    def group(self, name: str) -> ConsumerGroup:
        """Describe a consumer group; it has no members where no group has that name."""
        found = members(self._admin, name)
        hosts = {tp: each.host for each in found for tp in each.partitions}
        foreign = tuple(str(each) for each in found if not each.is_ours)
        return ConsumerGroup(len(found) - len(foreign), hosts, foreign)

    def _find_checkpoints(
        self,
        found: dict[TopicPartition, int],
        agreements: Agreements,
        ranges: Mapping[TopicPartition, range],
    ) -> None:
        """Add the size of the largest checkpoint of each owner in some ranges to `found`."""
        for tp, received in self._reader.messages(ranges):
            size = _checkpoint_size(received, agreements, tp)
            if size is not None:
                found[tp] = max(found.get(tp, 0), size)


def _last(offsets: Mapping[TopicPartition, range], count: int) -> dict[TopicPartition, range]:
    """The last offsets of each topic-partition, at most so many."""
    return {tp: each[-count:] for tp, each in offsets.items()}


def _near_positions(
    offsets: Mapping[TopicPartition, range], known: Mapping[TopicPartition, ExpectedLeaves]
) -> dict[TopicPartition, range]:
    """The offsets before and behind those from which partitions are read on into the tables."""
    found: dict[TopicPartition, range] = {}
    for tp, each in offsets.items():
        offset = known[tp].offset
        if offset is not None and each.start <= offset <= each.stop:
            start = max(each.start, offset - FIRST_MESSAGES)
            found[tp] = range(start, min(each.stop, start + MOST_MESSAGES))
    return found


def _checkpoint_size(received: Message, agreements: Agreements, tp: TopicPartition) -> int | None:
    """The tree size of the owner's checkpoint that a message carries; None without one."""
    topic, partition = tp.event_topic, tp.partition
    origin = tp.origin(agreements.bus)
    try:
        sealed = message.parse(received).sealed
        if sealed is None:
            return None
        return checkpoint.verify(sealed.note, origin, agreements.ring(topic, partition)).size
    except (errors.MessageMalformed, errors.SealBroken):
        return None


def _time(received: Message) -> datetime | None:
    """When the broker has stamped a message; None where it has not."""
    kind, milliseconds = received.timestamp()
    if kind == TIMESTAMP_NOT_AVAILABLE:
        return None
    return from_posix_time(milliseconds / 1000)


def _newness(stated: SignedHeads) -> tuple[int, int]:
    """Orders heads by their time, which has whole seconds, and within one by their leaves."""
    return stated.posix_time, sum(each.size for each in stated.heads)
