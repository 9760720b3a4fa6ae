"""What the topics of an agency show, read by nobody's group: how far they are, and what they hold.

A leaf lies at the offset of its index or behind it: each message raises the leaf index by one at
most, and what is sent again lets it fall back. So whoever looks for a tree's last leaf and those
beyond starts at the offset of its index, and reads past as many messages as were ever sent twice.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, TopicPartition

from sinergi_schemas import errors, message
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.admin import open_admin, partition_count
from sinergi_schemas.kafka.consumer import open_consumer
from sinergi_schemas.kafka.faults import raise_for, translated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from confluent_kafka import Consumer

    from sinergi_schemas.agreement import Agreements
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.message import Message

Place = tuple[str, int]
"""A topic's name and a partition."""

_SECONDS = 10.0
_POLL_SECONDS = 0.5
_CHUNK = 5_000


def counts(connection: Connection, agency: str, agreements: Agreements) -> dict[str, int]:
    """The partitions of each topic of an agency, by event type, which the broker must count alike.

    Raises:
        PartitionsDiffer: it does not.
        TopicAway, BrokerAway, NotPermitted, …: it does not say.
    """
    admin = open_admin(connection)
    expected: dict[str, int] = {}
    for topic in agreements.published_by(agency):
        expected[topic.event_type] = agreements.partitions(topic)
        found = partition_count(admin, topic.name)
        if found != expected[topic.event_type]:
            raise errors.PartitionsDiffer(topic.name, found, expected[topic.event_type])
    return expected


def sizes(
    connection: Connection, trees: Mapping[Place, int], clock: Clock = SYSTEM
) -> dict[Place, int]:
    """How many leaves each partition shows.

    Where it shows fewer than its tree has this is by its last messages, and a leader that was late
    may have sent older leaves again behind newer ones: then it is too few, never too many.

    Args:
        trees: the size of each tree as the database knows it.

    Raises:
        BrokerAway, TopicAway: they do not answer.
        MessageMalformed: one of these messages is not one of ours.
    """
    found = dict.fromkeys(trees, 0)
    for place, each in beyond(connection, trees, clock):
        found[place] = max(found[place], each.leaf_index + 1)
    return found


def beyond(
    connection: Connection, trees: Mapping[Place, int], clock: Clock = SYSTEM
) -> Iterator[tuple[Place, Message]]:
    """The messages beyond each tree, and before them its last leaf or what is last there.

    Older ones may be among them. Nothing is verified here.

    Args:
        trees: the size of each tree as the database knows it.

    Raises:
        BrokerAway, TopicAway: they do not answer.
        MessageMalformed: one of these messages is not one of ours.
    """
    with closing(open_consumer(connection, None)) as consumer:
        try:
            spans = {place: _span(consumer, place, size) for place, size in trees.items()}
            yield from _between(consumer, spans, clock)
        except KafkaException as why:
            raise translated(why) from None


def _span(consumer: Consumer, place: Place, size: int) -> range:
    """The offsets at which a tree's last leaf and those beyond it may lie; at least the last."""
    low, high = consumer.get_watermark_offsets(TopicPartition(*place), timeout=_SECONDS)
    return range(max(low, min(size, high) - 1), high)


def _between(
    consumer: Consumer, spans: Mapping[Place, range], clock: Clock
) -> Iterator[tuple[Place, Message]]:
    starts = [TopicPartition(*place, span.start) for place, span in spans.items() if span]
    left = sum(map(len, spans.values()))
    consumer.assign(starts)
    heard = clock.monotonic()
    while left:
        # It waits for as many as it is asked for: never ask for more than there are.
        chunk = consumer.consume(min(_CHUNK, left), _POLL_SECONDS)
        for each in chunk:
            raise_for(each.error())
            place, offset = (each.topic() or "", each.partition() or 0), each.offset() or 0
            if offset in spans[place]:
                left -= 1
                yield place, message.parse(each)
        if chunk:
            heard = clock.monotonic()
        elif _is_read(consumer, starts, spans):
            return
        elif clock.monotonic() - heard > _SECONDS:
            raise errors.TopicAway(starts[0].topic, "its last messages are not read")


def _is_read(
    consumer: Consumer, starts: list[TopicPartition], spans: Mapping[Place, range]
) -> bool:
    """Whether what is left is no message: offsets may have holes."""
    return all(
        each.offset >= spans[each.topic, each.partition].stop for each in consumer.position(starts)
    )
