"""One partition of a topic read outside every consumer group: for replays, audits and look-ups."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import confluent_kafka
from confluent_kafka import KafkaException

from sinergi_schemas import errors, message
from sinergi_schemas.kafka.consumer import message_bytes, open_consumer
from sinergi_schemas.kafka.faults import raise_for, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from confluent_kafka import Message

    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.consumer import ReadingConsumer
    from sinergi_schemas.kafka.unreadable import Unreadable
    from sinergi_schemas.message import ReceivedMessage
    from sinergi_schemas.topics import TopicPartition

_CHUNK = 5_000
_MOST_BYTES = 8 * 1024 * 1024
# Fetched by so few at a time, since a message may be a megabyte.
_PART = 32
_POLL_SECONDS = 0.5
SILENT_POLLS = 60
# Messages that are not ours, passed over at one place while a leaf is looked for.
_MOST_JUNK = 100


class PartitionScan:
    """A partition as a tape: where it begins and ends, and its messages between two offsets.

    Args:
        silent_polls: after so many polls of half a second without an answer the topic is away.

    Attributes:
        unreadable: batches that were passed over since whoever reads has last emptied it.
    """

    def __init__(
        self,
        consumer: ReadingConsumer,
        tp: TopicPartition,
        silent_polls: int = SILENT_POLLS,
    ) -> None:
        self._consumer = consumer
        self._silent_polls = silent_polls
        self._tp = tp
        self.unreadable: list[Unreadable] = []

    def bounds(self) -> tuple[int, int]:
        """The first offset, and the one behind the last message."""
        try:
            low, high = self._consumer.get_watermark_offsets(
                confluent_kafka.TopicPartition(*self._tp), timeout=10
            )
        except KafkaException as why:
            raise translated(why) from None
        return low, high

    def read(self, start: int, end: int, most: int = _CHUNK) -> Iterator[list[Message]]:
        """The messages with offsets in `[start, end)`, in chunks of at most so many.

        A chunk ends early where it has reached 8 MiB.

        Raises:
            TopicAway: the broker has gone silent before `end`, for half a minute as a rule.
        """
        self._consumer.assign([confluent_kafka.TopicPartition(*self._tp, start)])
        silent, passes = 0, self._consumer.passes
        while start < end:
            chunk, is_heard = self._chunk(start, end, most)
            self.unreadable += self._consumer.drain_unreadable()
            if self._consumer.passes > passes:
                silent, passes = 0, self._consumer.passes
            if chunk:
                silent = 0
                start = _offset(chunk[-1]) + 1
                yield chunk
            elif (silent := silent + 1) > self._silent_polls:
                raise errors.TopicAway(self._tp.topic, f"silent at offset {start} of {end}")
            elif is_heard or self._at_end(end):
                return

    def find(self, index: int) -> int:
        """An offset from which reading onwards meets a leaf; the first one where it is gone.

        Anybody who may write to the topic can put a message there that claims any leaf, and lead a
        bisection too far. So the offset is never above the one that counting gives: each message
        carries one leaf at most, and so a leaf never lies before as many messages as its index.
        """
        low, high = self.bounds()
        return min(find_offset(low, high, index, self._index_at), self._counted(low, high, index))

    def shown(self) -> int:
        """How many leaves the last messages claim that there are; nobody has verified them."""
        low, high = self.bounds()
        leaves = (_leaf(each) for _, each in self._numbered(max(low, high - _MOST_JUNK), high))
        return max((each + 1 for each in leaves if each is not None), default=0)

    def _counted(self, low: int, high: int, index: int) -> int:
        """The lowest offset at which a leaf can lie, unless leaves before it are missing.

        Of the first messages the one that claims the highest leaf says where the partition begins:
        whoever lies can make it too high, and the offset too low, and not the other way round.
        """
        end = min(high, low + _MOST_JUNK)
        found = ((at, _leaf(each)) for at, each in self._numbered(low, end))
        first = max((leaf - (at - low) for at, leaf in found if leaf is not None), default=low)
        return min(high, low + max(0, index - max(first, low)))

    def _index_at(self, offset: int) -> int | None:
        """The leaf of the first message of ours at or behind an offset; None if there is none.

        Where many follow that are none of ours it is None too: the leaf is then looked for before
        them.
        """
        _, high = self.bounds()
        within = self._numbered(offset, min(high, offset + _MOST_JUNK))
        leaves = (_leaf(each) for _, each in within)
        return next((each for each in leaves if each is not None), None)

    def _numbered(self, start: int, end: int) -> Iterator[tuple[int, Message]]:
        """Messages with their offsets, few at a time, since the first one is mostly enough."""
        for chunk in self.read(start, end, most=1):
            for each in chunk:
                yield _offset(each), each

    def _chunk(self, start: int, end: int, most: int) -> tuple[list[Message], bool]:
        """The next messages below `end`, and whether anything came at all."""
        chunk: list[Message] = []
        size = 0
        while len(chunk) < most and size < _MOST_BYTES:
            # It waits for as many as it is asked for: never ask for more than there are.
            wanted = min(_PART, most - len(chunk), end - start)
            part = self._consumer.consume(wanted, _POLL_SECONDS)
            for each in part:
                raise_for(each.error())
            within = [each for each in part if _offset(each) < end]
            chunk += within
            size += sum(map(message_bytes, within))
            if len(within) < wanted:
                return chunk, bool(part)
            start = _offset(within[-1]) + 1
            if start >= end:
                break
        return chunk, True

    def _at_end(self, end: int) -> bool:
        """Whether what is left before `end` is no message: offsets may have holes."""
        (position,) = self._consumer.position([confluent_kafka.TopicPartition(*self._tp)])
        return bool(position.offset >= end)


def find_offset(low: int, high: int, index: int, index_at: Callable[[int], int | None]) -> int:
    """An offset from which reading onwards meets the leaf `index`, by bisection.

    A relay that starts again resends from an earlier leaf, so that leaf indexes along a topic go
    up by one or fall back, but never jump forward. From any offset that holds a leaf at or below
    `index`, reading onwards therefore passes `index` itself, be it when a resend that is under way
    has gone on: the search need not find its first occurrence.

    Args:
        low: the first offset of the partition.
        high: the offset behind its last message.
        index: the leaf looked for.
        index_at: the leaf index of the first message at or behind an offset, None behind the last.

    Returns:
        `low` where nothing at or below `index` is left: the reader then finds the gap and says so.
    """
    while high - low > 1:
        middle = (low + high) // 2
        found = index_at(middle)
        if found is not None and found <= index:
            low = middle
        else:
            high = middle
    return low


def _offset(each: Message) -> int:
    """The offset; only a message that was never sent has none."""
    return each.offset() or 0


def ours(received: ReceivedMessage) -> message.Message | None:
    """A message taken apart; None where it is no message of ours."""
    try:
        return message.parse(received)
    except errors.MessageMalformed:
        return None


def _leaf(received: ReceivedMessage) -> int | None:
    """The leaf that a message claims to be; None where it is no message of ours."""
    found = ours(received)
    return None if found is None else found.leaf_index


@contextmanager
def open_scan(
    connection: Connection, tp: TopicPartition, silent_polls: int = SILENT_POLLS
) -> Iterator[PartitionScan]:
    """A scan whose consumer is closed at the end of the block."""
    consumer = open_consumer(connection, None)
    try:
        yield PartitionScan(consumer, tp, silent_polls)
    finally:
        consumer.close()
