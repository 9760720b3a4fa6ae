"""One partition of a topic read outside every consumer group: for replays, audits and look-ups."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, TopicPartition

from sinergi_consumers.position import find_offset
from sinergi_schemas import errors, message
from sinergi_schemas.kafka.consumer import open_consumer
from sinergi_schemas.kafka.faults import raise_for, translated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from confluent_kafka import Consumer, Message

    from sinergi_schemas.kafka import Connection

_CHUNK = 5_000
_POLL_SECONDS = 0.5
_SILENT_POLLS = 60


class Log:
    """A partition as a tape: where it begins and ends, and its messages between two offsets."""

    def __init__(self, consumer: Consumer, topic: str, partition: int) -> None:
        self._consumer = consumer
        self.topic = topic
        self.partition = partition

    def bounds(self) -> tuple[int, int]:
        """The first offset, and the one behind the last message."""
        try:
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(self.topic, self.partition), timeout=10
            )
        except KafkaException as why:
            raise translated(why) from None
        return low, high

    def read(self, start: int, end: int, most: int = _CHUNK) -> Iterator[list[Message]]:
        """The messages with offsets in `[start, end)`, in chunks of at most so many.

        Raises:
            TopicAway: the broker has gone silent for half a minute before `end`.
        """
        self._consumer.assign([TopicPartition(self.topic, self.partition, start)])
        silent = 0
        while start < end:
            # It waits for as many as it is asked for: never ask for more than there are.
            chunk = self._consumer.consume(min(most, end - start), _POLL_SECONDS)
            for each in chunk:
                raise_for(each.error())
            within = [each for each in chunk if _offset(each) < end]
            if within:
                silent = 0
                start = _offset(within[-1]) + 1
                yield within
            elif (silent := silent + 1) > _SILENT_POLLS:
                raise errors.TopicAway(self.topic, f"silent at offset {start} of {end}")
            elif chunk or self._at_end(end):
                return

    def find(self, index: int) -> int:
        """An offset from which reading onwards meets a leaf; the first one where it is gone."""
        low, high = self.bounds()
        return find_offset(low, high, index, self._index_at)

    def _index_at(self, offset: int) -> int | None:
        _, high = self.bounds()
        for chunk in self.read(offset, high, most=1):
            return message.parse(chunk[0]).leaf_index
        return None

    def _at_end(self, end: int) -> bool:
        """Whether what is left before `end` is no message: offsets may have holes."""
        (position,) = self._consumer.position([TopicPartition(self.topic, self.partition)])
        return bool(position.offset >= end)


def _offset(each: Message) -> int:
    """The offset; only a message that was never sent has none."""
    return each.offset() or 0


@contextmanager
def open_log(connection: Connection, topic: str, partition: int) -> Iterator[Log]:
    """A log that is closed at the end of the block."""
    consumer = open_consumer(connection, None)
    try:
        yield Log(consumer, topic, partition)
    finally:
        consumer.close()
