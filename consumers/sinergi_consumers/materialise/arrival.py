"""What a worker has received from the brokers in one poll."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from confluent_kafka import Message

    from sinergi_schemas.kafka.unreadable import Unreadable
    from sinergi_schemas.topics import TopicPartition


@dataclass(frozen=True, slots=True)
class Arrival:
    """A part of what has arrived.

    Attributes:
        messages: those of each topic-partition, in the order of its topic.
        ended: the topic-partitions of which nothing more lies on the broker behind these messages.
        out_of_range: the topic-partitions whose next offset the broker no longer has.
        unreadable: batches of these topic-partitions that were passed over.
    """

    messages: dict[TopicPartition, list[Message]]
    ended: set[TopicPartition]
    out_of_range: set[TopicPartition]
    unreadable: list[tuple[TopicPartition, Unreadable]]
