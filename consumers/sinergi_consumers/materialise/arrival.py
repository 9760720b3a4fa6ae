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
        messages: the messages of each topic-partition, in the order of their offsets.
        ended: the topic-partitions of which the broker has no message after these.
        out_of_range: the topic-partitions whose next offset the broker no longer has.
        unreadable: batches that could not be read and were passed over.
    """

    messages: dict[TopicPartition, list[Message]]
    ended: set[TopicPartition]
    out_of_range: set[TopicPartition]
    unreadable: list[Unreadable]
