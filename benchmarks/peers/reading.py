"""The plain consumer: it reads the bytes of each message, and does nothing with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import Consumer, TopicPartition

from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from stage import Stage


def run(stage: Stage, count: int) -> tuple[float, float]:
    """Read so many messages."""
    consumer = Consumer(
        {
            "bootstrap.servers": stage.kafka,
            "group.id": "plain",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 10,
        }
    )
    consumer.assign([TopicPartition(stage.topic.name, 0, 0)])
    began = SYSTEM.monotonic()
    done = size = 0
    while done < count:
        for message in consumer.consume(min(1_000, count - done), 0.1):
            if message.error() is None:
                size += len(message.value() or b"")
                done += 1
    ended = SYSTEM.monotonic()
    consumer.close()
    return began, ended
