"""What the topics of an agency show of its trees, read outside every consumer group.

Anybody may have written there. A message that no valid checkpoint of the agency covers decides
nothing, however many there are, and wherever they lie: only a checkpoint that the agency itself has
signed says how far a topic is.

A leaf lies at the offset of its index or behind it, since a message carries one leaf at most. So
whoever looks for a tree's last leaf starts at the offset of its index, or later: at the first
message that the broker has stamped since that leaf was sealed. Where the clocks of broker and
database do not agree, the checkpoint is not found there, and the rest is read as well.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import confluent_kafka
from confluent_kafka import KafkaException

from sinergi_schemas import errors, message
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.kafka.consumer import open_consumer
from sinergi_schemas.kafka.faults import raise_for, translated
from sinergi_schemas.seal import checkpoint, noise
from sinergi_schemas.seal.noise import Noise
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from confluent_kafka import Consumer, Message

    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.consumer import ReadingConsumer
    from sinergi_schemas.kafka.partitions import PartitionCheck
    from sinergi_schemas.seal.key_ring import KeyRing


UNKNOWN_LEAF = "a leaf that the outbox does not know, under no checkpoint of this agency"

_SECONDS = 10.0
_POLL_SECONDS = 0.5
# A message may have a megabyte.
_CHUNK = 64
_MOST_ROOTS = 1_000
_CLOCKS_DIFFER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class KnownTree:
    """A tree as the database has it, and the keys that sign it.

    Attributes:
        size: its leaves.
        sent: those that the broker has confirmed.
        sent_at: when the last one of these was sealed, by the database's clock.
    """

    origin: str
    ring: KeyRing
    size: int
    sent: int = 0
    sent_at: datetime | None = None


@dataclass(slots=True)
class TopicEvidence:
    """What a topic-partition shows by checkpoints that its owner has signed.

    Attributes:
        size: of the largest tree.
        roots: of the trees that were met last, by their sizes.
        high: the offset behind the last message.
        noise: what was skipped.
    """

    size: int = 0
    roots: dict[int, bytes] = field(default_factory=dict)
    high: int = 0
    noise: Noise = field(default_factory=Noise)


def agreed_partitions(
    connection: Connection, agency: str, agreements: Agreements, partitions: PartitionCheck
) -> dict[str, int]:
    """The agreed partitions of each topic of an agency, by event type; the broker must have them.

    Raises:
        PartitionsDiffer: it has fewer.
        TopicAway, BrokerAway, NotPermitted, …: it does not say.
    """
    admin = open_admin(connection)
    expected: dict[str, int] = {}
    for topic in agreements.published_by(agency):
        expected[topic.event_type] = agreements.partitions(topic)
        partitions.check(admin, topic.name, expected[topic.event_type])
    return expected


def evidence(
    connection: Connection, known: Mapping[TopicPartition, KnownTree], clock: Clock = SYSTEM
) -> dict[TopicPartition, TopicEvidence]:
    """What each topic-partition shows.

    Memory is bounded, and time grows with what was written behind the last confirmed leaf.

    Raises:
        OutboxForked: this agency has signed two trees of one size.
        BrokerAway, TopicAway, NotPermitted: they cannot be read.
    """
    found = {tp: TopicEvidence() for tp in known}
    with closing(open_consumer(connection, None)) as consumer:
        try:
            whole = {tp: _span(consumer, tp, each.sent) for tp, each in known.items()}
            for tp, span in whole.items():
                found[tp].high = span.stop
            late = {tp: _since(consumer, tp, span, known[tp].sent_at) for tp, span in whole.items()}
            for tp, each in _between(consumer, late, clock):
                _judge(found[tp], known[tp], each)
            _report(consumer, found)
            early = {
                tp: range(span.start, late[tp].start)
                for tp, span in whole.items()
                if found[tp].size < known[tp].sent
            }
            for tp, each in _between(consumer, early, clock):
                _judge(found[tp], known[tp], each)
            _report(consumer, found)
        except KafkaException as why:
            raise translated(why) from None
    return found


def messages_beyond(
    connection: Connection, trees: Mapping[TopicPartition, int], clock: Clock = SYSTEM
) -> Iterator[tuple[TopicPartition, Message]]:
    """The messages that may hold leaves beyond each tree, and some before. Nothing is verified.

    Args:
        trees: the size of each tree as the database knows it.

    Raises:
        BrokerAway, TopicAway, NotPermitted: they cannot be read.
    """
    with closing(open_consumer(connection, None)) as consumer:
        try:
            spans = {tp: _span(consumer, tp, size) for tp, size in trees.items()}
            yield from _between(consumer, spans, clock)
        except KafkaException as why:
            raise translated(why) from None


def _report(consumer: ReadingConsumer, found: Mapping[TopicPartition, TopicEvidence]) -> None:
    """Count the batches that cannot be read among what was skipped."""
    for each in consumer.drain_unreadable():
        found[TopicPartition(each.topic, each.partition)].noise.add(each.cause, each.offset)


def _judge(found: TopicEvidence, known: KnownTree, received: Message) -> None:
    """Take a message into account if a checkpoint of the owner stands on it."""
    offset = received.offset() or 0
    try:
        parsed = message.parse(received)
    except errors.MessageMalformed as why:
        found.noise.add(why.what, offset)
        return
    if parsed.sealed is None:
        if parsed.leaf_index >= known.size:
            found.noise.add(UNKNOWN_LEAF, offset, parsed.leaf_index)
        return
    try:
        stated = checkpoint.verify(parsed.sealed.note, known.origin, known.ring)
    except errors.SealBroken as why:
        cause = f"{noise.FOREIGN_CHECKPOINT} ({type(why).__name__})"
        found.noise.add(cause, offset, parsed.leaf_index)
        return
    if found.roots.setdefault(stated.size, stated.root) != stated.root:
        raise errors.OutboxForked(known.origin, stated.size)
    if len(found.roots) > _MOST_ROOTS:
        del found.roots[next(iter(found.roots))]
    found.size = max(found.size, stated.size)


def _span(consumer: Consumer, tp: TopicPartition, size: int) -> range:
    """The offsets at which a tree's last leaf and those beyond it may lie; at least the last."""
    low, high = consumer.get_watermark_offsets(
        confluent_kafka.TopicPartition(*tp), timeout=_SECONDS
    )
    return range(max(low, min(size, high) - 1), high)


def _since(consumer: Consumer, tp: TopicPartition, span: range, at: datetime | None) -> range:
    """The part of some offsets that the broker has stamped since a moment, clocks apart."""
    if at is None or not span:
        return span
    milliseconds = int((at - _CLOCKS_DIFFER).timestamp() * 1000)
    (found,) = consumer.offsets_for_times(
        [confluent_kafka.TopicPartition(*tp, max(0, milliseconds))], timeout=_SECONDS
    )
    start = found.offset if found.offset >= 0 else span.stop
    return range(min(max(span.start, start), span.stop), span.stop)


def _between(
    consumer: ReadingConsumer, spans: Mapping[TopicPartition, range], clock: Clock
) -> Iterator[tuple[TopicPartition, Message]]:
    starts = [confluent_kafka.TopicPartition(*tp, span.start) for tp, span in spans.items() if span]
    left = sum(map(len, spans.values()))
    if not left:
        return
    consumer.assign(starts)
    heard, passes = clock.monotonic(), consumer.passes
    while left:
        # It waits for as many as it is asked for: never ask for more than there are.
        chunk = consumer.consume(min(_CHUNK, left), _POLL_SECONDS)
        for each in chunk:
            raise_for(each.error())
            tp, offset = (
                TopicPartition(each.topic() or "", each.partition() or 0),
                each.offset() or 0,
            )
            if offset in spans.get(tp, ()):
                left -= 1
                yield tp, each
        if chunk or consumer.passes > passes:
            passes = consumer.passes
            heard = clock.monotonic()
        elif _is_read(consumer, starts, spans):
            return
        elif clock.monotonic() - heard > _SECONDS:
            raise errors.TopicAway(starts[0].topic, "its last messages are not read")


def _is_read(
    consumer: Consumer,
    starts: list[confluent_kafka.TopicPartition],
    spans: Mapping[TopicPartition, range],
) -> bool:
    """Whether what is left is no message: offsets may have holes."""
    return all(
        each.offset >= spans[TopicPartition(each.topic, each.partition)].stop
        for each in consumer.position(starts)
    )
