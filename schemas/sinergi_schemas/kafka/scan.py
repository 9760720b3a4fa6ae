"""One topic-partition read from offset to offset, and the search for its leaves."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Protocol

from sinergi_schemas.kafka.leaf_search import claimed_leaf, counted_offset, find_offset
from sinergi_schemas.kafka.parts import MOST_AT_ONCE
from sinergi_schemas.kafka.ranges import CHUNK, RangeReader
from sinergi_schemas.message import parsed_or_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from confluent_kafka import Message

    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.ranges import MessagePart
    from sinergi_schemas.kafka.read_ahead import ReadAhead
    from sinergi_schemas.kafka.unreadable import Unreadable
    from sinergi_schemas.message import Parsed
    from sinergi_schemas.topics import TopicPartition

_CHUNK_BYTES = 8 * 1024 * 1024
# Messages without a leaf that a search reads at one place.
_MOST_FOREIGN = 100
# Unreadable batches that are remembered, so that they are not reported again.
_MOST_REPORTED = 1_000


class OffsetReader(Protocol):
    """Reads ranges of offsets: of a cluster, or of what keeps messages with their offsets."""

    def bounds(self, tp: TopicPartition) -> tuple[int, int]:
        """The first offset of a topic-partition, and its end offset."""

    def parts(
        self, ranges: Mapping[TopicPartition, range], most: int = CHUNK
    ) -> Iterator[MessagePart]:
        """The messages of some ranges, in parts; see `RangeReader.parts`."""

    def drain_unreadable(self) -> list[Unreadable]:
        """The batches that could not be read and were passed over since the last call."""


class _Chunk:
    """The messages since the end of the last chunk: at most so many, and some 8 MiB."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = self._size = 0

    def ends(self, count: int, size: int, *, is_last: bool) -> bool:
        """Whether the chunk ends with some more messages, which have so many bytes."""
        self._count += count
        self._size += size
        is_full = self._count > self._most - MOST_AT_ONCE or self._size >= _CHUNK_BYTES
        if is_full or is_last:
            self._count = self._size = 0
        return is_full or is_last


class PartitionScan:
    """Reads one topic-partition, and finds leaves in it.

    Args:
        reader: of the cluster, or of what keeps messages with their offsets.
        tp: the topic-partition.
        ahead: processes that read long ranges of it, or None.
    """

    def __init__(
        self, reader: OffsetReader, tp: TopicPartition, ahead: ReadAhead | None = None
    ) -> None:
        self._reader = reader
        self._tp = tp
        self._ahead = ahead
        self._unreadable: list[Unreadable] = []
        self._reported: dict[int, None] = {}

    @property
    def reader(self) -> OffsetReader:
        """What reads its messages."""
        return self._reader

    def bounds(self) -> tuple[int, int]:
        """The first offset, and the end offset.

        Raises:
            SinergiError: see `faults.translate`.
        """
        return self._reader.bounds(self._tp)

    def read(self, start: int, end: int, most: int = CHUNK) -> Iterator[list[Message]]:
        """The messages with offsets in `[start, end)`, in chunks of at most `most`.

        A chunk ends early where it has 8 MiB, and where no more has arrived yet.

        Raises:
            TopicAway: the broker is silent before `end`.
            SinergiError: see `faults.translate`.
        """
        chunk: list[Message] = []
        for part, ends_chunk in self.parts(start, end, most):
            chunk += part
            if ends_chunk:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    def parts(
        self, start: int, end: int, most: int = CHUNK
    ) -> Iterator[tuple[list[Message], bool]]:
        """As `read`, as the messages arrive: a few of them, and whether they end a chunk.

        A reader that uses them at once finds them in the processor's cache, and takes a fifth less
        time than with a whole chunk.

        Raises:
            TopicAway, SinergiError: see `read`.
        """
        chunk = _Chunk(most)
        for part in self._reader.parts({self._tp: range(start, end)}, most):
            ends = chunk.ends(len(part.messages), part.size, is_last=part.is_short)
            yield part.messages, ends

    def parsed_parts(self, start: int, end: int) -> Iterator[tuple[Iterable[Parsed], bool]]:
        """As `parts`, with the messages parsed. Other processes read a long range.

        Raises:
            TopicAway, SinergiError: see `read`.
        """
        if self._ahead is not None:
            chunk = _Chunk(CHUNK)
            for block in self._ahead.blocks(self._tp, range(start, end)):
                start = block.next_offset
                self._unreadable += block.unreadable
                ends = chunk.ends(len(block.messages), block.size, is_last=start == end)
                yield block.messages, ends
        for part, ends_chunk in self.parts(start, end):
            yield map(parsed_or_error, part), ends_chunk

    def drain_unreadable(self) -> list[Unreadable]:
        """The batches that could not be read and were passed over since the last call.

        Each is reported once, also where several processes meet it: it may lie in two parts of a
        range, or be read again.
        """
        found, self._unreadable = self._unreadable + self._reader.drain_unreadable(), []
        return [each for each in found if self._is_first_report(each.offset)]

    def _is_first_report(self, offset: int) -> bool:
        if offset in self._reported:
            return False
        if len(self._reported) >= _MOST_REPORTED:
            del self._reported[next(iter(self._reported))]
        self._reported[offset] = None
        return True

    def find(self, index: int) -> int:
        """An offset from which reading onwards meets a leaf; the first one where it is gone.

        A false claim can lead a bisection too far. So the offset is never above the one that
        counting the messages gives.

        Raises:
            TopicAway, SinergiError: see `read`.
        """
        low, high = self.bounds()
        if index == 0:
            return low  # nothing can precede it
        first = self._claims(low, min(high, low + _MOST_FOREIGN))
        return min(
            find_offset(low, high, index, lambda offset: self._first_claim(offset, high)),
            counted_offset(low, high, index, first),
        )

    def claimed_leaves(self) -> int:
        """How many leaves there are as the last messages claim; nothing of it is verified.

        Raises:
            TopicAway, SinergiError: see `read`.
        """
        low, high = self.bounds()
        leaves = (leaf for _, leaf in self._claims(max(low, high - _MOST_FOREIGN), high))
        return max((each + 1 for each in leaves if each is not None), default=0)

    def _first_claim(self, offset: int, high: int) -> int | None:
        """The first leaf that is claimed at or after an offset; None where there is none near.

        Where many messages without a leaf follow, the search goes on before them.
        """
        claims = self._claims(offset, min(high, offset + _MOST_FOREIGN))
        return next((leaf for _, leaf in claims if leaf is not None), None)

    def _claims(self, start: int, end: int) -> Iterator[tuple[int, int | None]]:
        """Offsets with the leaf that each message claims; one at a time, as one is often enough."""
        for part in self._reader.parts({self._tp: range(start, end)}, most=1):
            for each in part.messages:
                yield each.offset() or 0, claimed_leaf(each)


@contextmanager
def open_scan(
    connection: Connection, tp: TopicPartition, silent_seconds: float | None = None
) -> Iterator[PartitionScan]:
    """A scan whose connection is closed at the end of the block.

    Raises:
        KafkaSettingsRefused: librdkafka does not take the connection's options.
    """
    with closing(RangeReader(connection, silent_seconds)) as reader:
        yield PartitionScan(reader, tp)
