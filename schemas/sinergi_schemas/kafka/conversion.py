"""Converts between our topic-partitions and those of the client library."""

from __future__ import annotations

from typing import TYPE_CHECKING

import confluent_kafka
from confluent_kafka import OFFSET_INVALID

from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from confluent_kafka import Message


def to_client(
    tp: TopicPartition, offset: int = OFFSET_INVALID, metadata: str = ""
) -> confluent_kafka.TopicPartition:
    """A topic-partition for a call of a client.

    Args:
        offset: the one that the call is about; by default it is about none.
        metadata: what an offset commit stores beside the offset.
    """
    return confluent_kafka.TopicPartition(tp.topic, tp.partition, offset, metadata)


def from_client(found: confluent_kafka.TopicPartition) -> TopicPartition:
    """The topic-partition in what a client returns."""
    return TopicPartition(found.topic, found.partition)


def of_message(received: Message) -> TopicPartition:
    """The topic-partition of a message that a consumer has delivered."""
    return TopicPartition(received.topic() or "", received.partition() or 0)
