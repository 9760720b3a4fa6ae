"""Ranges of offsets, read outside every consumer group: for replays, audits and searches.

A range may have holes: the markers of transactions, what compaction has removed, batches that
cannot be read. It is read as soon as the client's position is after it, whatever lay there.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import KafkaError, KafkaException

from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.consumer import open_consumer
from sinergi_schemas.kafka.conversion import from_client, of_message, to_client
from sinergi_schemas.kafka.faults import translate, translated
from sinergi_schemas.kafka.parts import PartLimit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from confluent_kafka import Message

    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.unreadable import Unreadable
    from sinergi_schemas.topics import TopicPartition

_POLL_SECONDS = 0.1
CHUNK = 5_000


class MessagePart(NamedTuple):
    """Messages that arrived together.

    Attributes:
        size: their bytes.
        is_short: a range ends here, or no more have arrived yet.
    """

    messages: list[Message]
    size: int
    is_short: bool


class RangeReader:
    """Reads ranges of offsets of any number of topic-partitions; one call at a time.

    Args:
        silent_seconds: how long no message of the ranges may arrive before a topic is away; if
            None, it is that of the connection. The time that the process is suspended does not
            count.
    """

    def __init__(self, connection: Connection, silent_seconds: float | None = None) -> None:
        self._connection = connection
        self._consumer = open_consumer(connection, None)
        self._answer_seconds = connection.timeouts.answer
        self.set_silence(silent_seconds)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def set_silence(self, seconds: float | None) -> None:
        """Change `silent_seconds`."""
        self._silent_seconds = self._connection.timeouts.silence if seconds is None else seconds

    def release(self) -> None:
        """Fetch nothing more, and forget what was read, so that others can read with it.

        Raises:
            SinergiError: see `faults.translate`.
        """
        with self._translating():
            self._consumer.unassign()
        self.drain_unreadable()

    def bounds(self, tp: TopicPartition) -> tuple[int, int]:
        """The first offset of a topic-partition, and its end offset.

        Raises:
            SinergiError: see `faults.translate`.
        """
        with self._translating():
            return self._consumer.get_watermark_offsets(to_client(tp), timeout=self._answer_seconds)

    def first_since(self, tp: TopicPartition, moment: datetime) -> int | None:
        """The first offset that the broker has stamped at a moment or later; None without one.

        Raises:
            SinergiError: see `faults.translate`.
        """
        milliseconds = max(0, int(moment.timestamp() * 1000))
        with self._translating():
            (found,) = self._consumer.offsets_for_times(
                [to_client(tp, milliseconds)], timeout=self._answer_seconds
            )
        return found.offset if found.offset >= 0 else None

    def messages(
        self, ranges: Mapping[TopicPartition, range]
    ) -> Iterator[tuple[TopicPartition, Message]]:
        """The messages of some ranges as they arrive, in order within each topic-partition.

        Raises:
            TopicAway, SinergiError: see `parts`.
        """
        for part in self.parts(ranges):
            for each in part.messages:
                yield of_message(each), each

    def parts(
        self, ranges: Mapping[TopicPartition, range], most: int = CHUNK
    ) -> Iterator[MessagePart]:
        """The messages of some ranges as they arrive, in small parts.

        Drop a part before the next one is taken: each message may have a megabyte.

        Args:
            ranges: the offsets to read of each topic-partition.
            most: how many messages a part may have; see `PartLimit`.

        Raises:
            TopicAway: nothing of the ranges has arrived for `silent_seconds`.
            SinergiError: see `faults.translate`.
        """
        unread = _UnreadRanges(ranges)
        if unread.tps:
            self._assign(unread)
        limit, silent, passes = PartLimit(), 0.0, self._consumer.passes
        while unread.tps:
            # The client waits for as many as it is asked for: never ask for more than there are.
            wanted = min(most, limit.messages, unread.count())
            received, waited = self._consume(wanted)
            size = limit.weigh(received)
            part = unread.take(received)
            has_moved, is_short = bool(part), len(part) < wanted
            if part:
                yield MessagePart(part, size, is_short)
            del part, received
            if is_short:
                has_moved |= unread.advance(self._positions(unread))
            if has_moved or self._consumer.passes > passes:
                silent, passes = 0.0, self._consumer.passes
            else:
                silent += waited
            if unread.tps and silent > self._silent_seconds:
                raise self._connection.client_errors.refusal() or unread.silence()
            self._unassign(unread.drain_ended())

    def drain_unreadable(self) -> list[Unreadable]:
        """The batches that could not be read and were passed over since the last call."""
        return self._consumer.drain_unreadable()

    @contextmanager
    def _translating(self) -> Iterator[None]:
        """As `faults.translating`, with the cause that the client reports outside of the call."""
        try:
            yield
        except KafkaException as why:
            raise self._consumer.fault(translated(why)) from None

    def _assign(self, unread: _UnreadRanges) -> None:
        with self._translating():
            self._consumer.assign([to_client(tp, unread.next_offset(tp)) for tp in unread.tps])

    def _unassign(self, tps: Sequence[TopicPartition]) -> None:
        """Fetch no more of what is read to the end of its range."""
        if tps:
            with self._translating():
                self._consumer.incremental_unassign([to_client(tp) for tp in tps])

    def _consume(self, wanted: int) -> tuple[list[Message], float]:
        """The next messages, and how many seconds were spent on waiting for them."""
        begun = SYSTEM.monotonic()
        try:  # a context manager would take as long as a message
            received = self._consumer.consume(wanted, _POLL_SECONDS)
        except KafkaException as why:
            raise self._consumer.fault(translated(why)) from None
        return received, min(SYSTEM.monotonic() - begun, _POLL_SECONDS)

    def _positions(self, unread: _UnreadRanges) -> dict[TopicPartition, int]:
        """The position of the client in each topic-partition; it also passes holes."""
        with self._translating():
            found = self._consumer.position([to_client(tp) for tp in unread.tps])
        return {from_client(each): each.offset for each in found}


class _UnreadRanges:
    """What is still to be read of some ranges."""

    def __init__(self, ranges: Mapping[TopicPartition, range]) -> None:
        self._left = {tp: each for tp, each in ranges.items() if each}
        self._ended: list[TopicPartition] = []

    @property
    def tps(self) -> Iterable[TopicPartition]:
        """The topic-partitions of which something is unread."""
        return self._left.keys()

    def count(self) -> int:
        """How many offsets are unread."""
        return sum(map(len, self._left.values()))

    def next_offset(self, tp: TopicPartition) -> int:
        """The first unread offset of a topic-partition."""
        return self._left[tp].start

    def take(self, received: Sequence[Message]) -> list[Message]:
        """Those of some messages that belong to the ranges; they count as read.

        Raises:
            TopicChanged: messages that are unread were deleted.
            SinergiError: an error was delivered in place of a message; see `faults.translate`.
        """
        within: list[Message] = []
        reached: dict[TopicPartition, int] = {}
        tp, left, offset = None, range(0), 0
        for each in received:
            if (error := each.error()) is not None:
                raise _fault(each, error)
            # Most messages are of the same topic-partition as the one before.
            if tp is None or tp.partition != each.partition() or tp.topic != each.topic():
                if tp is not None:
                    reached[tp] = offset + 1
                tp = of_message(each)
                left = self._left.get(tp, range(0))
            offset = each.offset() or 0
            if offset in left:
                within.append(each)
        if tp is not None:
            reached[tp] = offset + 1
        self.advance(reached)
        return within

    def advance(self, offsets: Mapping[TopicPartition, int]) -> bool:
        """Count what lies before some offsets as read. Whether any of it was unread."""
        has_moved = False
        for tp, offset in offsets.items():
            left = self._left.get(tp)
            if left is not None and offset > left.start:
                has_moved = True
                self._left[tp] = range(offset, left.stop)
                if offset >= left.stop:
                    del self._left[tp]
                    self._ended.append(tp)
        return has_moved

    def drain_ended(self) -> list[TopicPartition]:
        """The topic-partitions that have come to the end of their range since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def silence(self) -> errors.TopicAway:
        """The error for a topic-partition that is unread and of which nothing more arrives."""
        tp, left = next(iter(self._left.items()))
        where = f"partition {tp.partition} is silent at offset {left.start} of {left.stop}"
        return errors.TopicAway(tp.topic, where)


def _fault(received: Message, error: KafkaError) -> errors.SinergiError:
    """What an error means that was delivered in place of a message."""
    if error.code() == KafkaError._AUTO_OFFSET_RESET:
        what = f"partition {received.partition()} lacks the message to read next"
        return errors.TopicChanged(received.topic() or "a topic", what)
    return translate(error)
