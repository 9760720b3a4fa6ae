"""How far a topic is: the leaf behind its last message, read by nobody's group."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, TopicPartition

from sinergi_schemas import errors, message
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.consumer import open_consumer
from sinergi_schemas.kafka.faults import raise_for, translated

if TYPE_CHECKING:
    from collections.abc import Iterable

    from confluent_kafka import Consumer

    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection

Place = tuple[str, int]
"""A topic's name and a partition."""

_SECONDS = 10.0
_POLL_SECONDS = 0.5


def sizes(
    connection: Connection, places: Iterable[Place], clock: Clock = SYSTEM
) -> dict[Place, int]:
    """How many leaves each partition shows, by its last message.

    A leader that was late may have sent old leaves again behind newer ones; then this is too few,
    never too many.

    Raises:
        BrokerAway, TopicAway: they do not answer.
        MessageMalformed: the last message is not one of ours.
    """
    with closing(open_consumer(connection, None)) as consumer:
        try:
            last = {place: _last_offset(consumer, place) for place in places}
            found = {place: 0 for place, offset in last.items() if offset < 0}
            consumer.assign(
                [TopicPartition(*place, offset) for place, offset in last.items() if offset >= 0]
            )
            end = clock.monotonic() + _SECONDS
            while missing := last.keys() - found.keys():
                if clock.monotonic() > end:
                    raise errors.TopicAway(min(missing)[0], "its last message is not read")
                found |= _sizes_in(consumer)
        except KafkaException as why:
            raise translated(why) from None
    return found


def _last_offset(consumer: Consumer, place: Place) -> int:
    """The offset of the last message; below 0 where there is none."""
    low, high = consumer.get_watermark_offsets(TopicPartition(*place), timeout=_SECONDS)
    return high - 1 if high > low else -1


def _sizes_in(consumer: Consumer) -> dict[Place, int]:
    found: dict[Place, int] = {}
    for each in consumer.consume(100, _POLL_SECONDS):
        raise_for(each.error())
        found[each.topic() or "", each.partition() or 0] = message.parse(each).leaf_index + 1
    return found
