"""What the topics of an agency show of its trees, read outside every consumer group.

Anybody may have written to the topics. Only a checkpoint that the agency itself has signed says how
many leaves a topic has. Messages that no such checkpoint covers decide nothing, however many there
are and wherever they lie.

Each message carries at most one leaf, so the offset of leaf n is n or higher, or n - m where the
topic has lost the first m leaves and cannot get them back. To find the last leaf
of a tree, reading starts at the offset of its index. It starts later if possible: at the first
message whose broker timestamp is not earlier than the time at which that leaf was sealed. Where the
clocks of broker and database do not agree, the checkpoint is not found there, and the earlier
messages are read as well.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.kafka.admin import describe, open_admin
from sinergi_schemas.kafka.ranges import RangeReader
from sinergi_schemas.message import parsed_or_error
from sinergi_schemas.seal import checkpoint, skipped
from sinergi_schemas.seal.skipped import SkippedByCause
from sinergi_schemas.timeouts import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from confluent_kafka import Message

    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.partitions import PartitionCheck
    from sinergi_schemas.seal.key_ring import KeyRing
    from sinergi_schemas.topics import TopicPartition


UNKNOWN_LEAF = "a leaf beyond those in the outbox, under no checkpoint of this agency"

_MOST_ROOTS = 1_000
_CLOCKS_DIFFER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class KnownTree:
    """A tree as the database has it, and the keys that sign it.

    Attributes:
        size: how many leaves it has.
        sent: how many of them the broker has confirmed.
        sent_at: when the last confirmed one was sealed, by the database's clock.
        lost: how many of its first leaves are pruned here and gone from the topic.
    """

    origin: str
    ring: KeyRing
    size: int
    sent: int = 0
    sent_at: datetime | None = None
    lost: int = 0


@dataclass(slots=True)
class TopicEvidence:
    """What a topic-partition shows by checkpoints that its owner has signed.

    Attributes:
        size: the size of the largest tree.
        roots: the roots of the trees that were read last, by their sizes.
        low: the offset of the first message.
        high: the end offset, which is after the last message.
        skipped: the foreign messages, which were skipped.
    """

    size: int = 0
    roots: dict[int, bytes] = field(default_factory=dict)
    low: int = 0
    high: int = 0
    skipped: SkippedByCause = field(default_factory=SkippedByCause)


def agreed_partitions(
    connection: Connection,
    agency: str,
    agreements: Agreements,
    partitions: PartitionCheck,
    at: datetime,
) -> dict[str, int]:
    """How many partitions each topic of an agency has by its agreement, by event type.

    A topic that the brokers do not have is left out while no agreement on it is in force: nobody
    makes it before, or after.

    Args:
        at: the time at which agreements must be in force.

    Raises:
        PartitionsDiffer: a topic has fewer on the broker.
        TopicAway, BrokerAway, NotPermitted, …: the broker does not describe it.
    """
    admin = open_admin(connection)
    expected: dict[str, int] = {}
    published, in_force = agreements.published_by(agency), agreements.published_by(agency, at)
    not_in_force = {each.name for each in published} - {each.name for each in in_force}
    absent = not_in_force - describe(admin, not_in_force).keys()
    for topic in published:
        if topic.name in absent:
            continue
        expected[topic.event_type] = agreements.partitions(topic)
        file = agreements.file_of(topic)
        partitions.check(admin, topic.name, expected[topic.event_type], file)
    return expected


def evidence(
    connection: Connection,
    known: Mapping[TopicPartition, KnownTree],
    silent_seconds: float = DEFAULT.relay.silence,
    while_reading: Callable[[], None] = lambda: None,
) -> dict[TopicPartition, TopicEvidence]:
    """What each topic-partition shows.

    Memory is bounded, and time grows with what was written after the last confirmed leaf.

    Args:
        silent_seconds: see `RangeReader`.
        while_reading: called for each message.

    Raises:
        OutboxForked: this agency has signed two trees of one size.
        BrokerAway, TopicAway, NotPermitted: they cannot be read.
    """
    found = {tp: TopicEvidence() for tp in known}
    with closing(RangeReader(connection, silent_seconds)) as reader:
        for tp, each in found.items():
            each.low, each.high = reader.bounds(tp)
        whole = {
            tp: _unconfirmed_range((found[tp].low, found[tp].high), each.sent - each.lost)
            for tp, each in known.items()
        }
        late = {tp: _since(reader, tp, whole[tp], each.sent_at) for tp, each in known.items()}
        _judge_all(reader, found, known, late, while_reading)
        early = {
            tp: range(offsets.start, late[tp].start)
            for tp, offsets in whole.items()
            if found[tp].size < known[tp].sent
        }
        _judge_all(reader, found, known, early, while_reading)
    return found


def messages_beyond(
    connection: Connection,
    trees: Mapping[TopicPartition, int],
    silent_seconds: float = DEFAULT.relay.silence,
) -> Iterator[tuple[TopicPartition, Message]]:
    """The messages that may hold leaves beyond each tree, and some before. Nothing is verified.

    Args:
        trees: the size of each tree as the database has it, without first leaves that the topic has
            lost for ever.
        silent_seconds: see `RangeReader`.

    Raises:
        BrokerAway, TopicAway, NotPermitted: they cannot be read.
    """
    with closing(RangeReader(connection, silent_seconds)) as reader:
        yield from reader.messages(
            {tp: _unconfirmed_range(reader.bounds(tp), size) for tp, size in trees.items()}
        )


def _judge_all(
    reader: RangeReader,
    found: Mapping[TopicPartition, TopicEvidence],
    known: Mapping[TopicPartition, KnownTree],
    ranges: Mapping[TopicPartition, range],
    while_reading: Callable[[], None],
) -> None:
    """Take the messages of some ranges into account, and the batches that cannot be read."""
    for tp, each in reader.messages(ranges):
        _judge(found[tp], known[tp], each)
        while_reading()
    for batch in reader.drain_unreadable():
        found[batch.tp].skipped.add(batch.cause, batch.offset)


def _judge(found: TopicEvidence, known: KnownTree, received: Message) -> None:
    """Take a message into account if it carries a checkpoint that the owner has signed."""
    offset = received.offset() or 0
    parsed = parsed_or_error(received)
    if isinstance(parsed, errors.MessageMalformed):
        found.skipped.add(parsed.what, offset)
        return
    if parsed.sealed is None:
        if parsed.leaf_index >= known.size:
            found.skipped.add(UNKNOWN_LEAF, offset, parsed.leaf_index)
        return
    try:
        stated = checkpoint.verify(parsed.sealed.note, known.origin, known.ring)
    except errors.SealBroken as why:
        cause = f"{skipped.FOREIGN_CHECKPOINT} ({type(why).__name__})"
        found.skipped.add(cause, offset, parsed.leaf_index)
        return
    if found.roots.setdefault(stated.size, stated.root) != stated.root:
        raise errors.OutboxForked(known.origin, stated.size)
    if len(found.roots) > _MOST_ROOTS:
        del found.roots[next(iter(found.roots))]
    found.size = max(found.size, stated.size)


def _unconfirmed_range(bounds: tuple[int, int], size: int) -> range:
    """The offsets where a tree's last leaf and those beyond it may lie; at least the last one."""
    low, high = bounds
    return range(max(low, min(size, high) - 1), high)


def _since(reader: RangeReader, tp: TopicPartition, offsets: range, at: datetime | None) -> range:
    """The part of some offsets that the broker has stamped since a moment of the database."""
    if at is None or not offsets:
        return offsets
    start = reader.first_since(tp, at - _CLOCKS_DIFFER)
    if start is None:
        return range(offsets.stop, offsets.stop)
    return range(min(max(offsets.start, start), offsets.stop), offsets.stop)
