"""Where to start reading a topic-partition.

Reading starts at the offset that is stored with the position if it is valid, else at the offset
where the next leaf is found. The stored offset is a cache. It is not valid on another cluster or in
a recreated topic. If messages were deleted at the end of a partition and sent again, the leaf has
another offset in the same topic. So if the partition does not have the offset, the leaf is
searched for. And if the messages at the start do not match the position, the partition is read
again from its first message before the leaf is reported as missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sinergi_consumers.reading.position import Position, TopicIncarnation
    from sinergi_schemas.kafka.scan import PartitionScan


class Start(NamedTuple):
    """The offset at which reading a topic-partition starts.

    Attributes:
        offset: the first offset that is read.
        low: the first offset that the broker has.
        is_deleted: whether the broker has deleted the offset of the next leaf.
        shown: how many leaves the last messages show, if that is less than the position's size.
    """

    offset: int
    low: int
    is_deleted: bool = False
    shown: int | None = None

    @property
    def is_first(self) -> bool:
        """Whether it is the first offset that the broker has."""
        return self.offset <= self.low

    @property
    def first(self) -> Start:
        """The start at the first offset that the broker has."""
        return self._replace(offset=self.low)


def known_start(bounds: range, position: Position, incarnation: TopicIncarnation) -> Start | None:
    """The start of reading if no message has to be read to find it, else None.

    Args:
        bounds: the offsets that the broker has.
    """
    low, known = bounds.start, position.offset_at(incarnation)
    if known is not None and low <= known <= bounds.stop:
        return Start(known, low)
    if position.frontier.size == 0:
        return Start(low, low, is_deleted=known is not None and known < low)
    return None


def find_start(scan: PartitionScan, position: Position, incarnation: TopicIncarnation) -> Start:
    """Find the offset from which the next leaf after a position is read, if it exists.

    Raises:
        Unavailable: the broker does not answer.
    """
    bounds = range(*scan.bounds())
    if known := known_start(bounds, position, incarnation):
        return known
    offset, size, shown = (
        position.offset_at(incarnation),
        position.frontier.size,
        scan.claimed_leaves(),
    )
    is_deleted = offset is not None and offset < bounds.start
    return Start(scan.find(size), bounds.start, is_deleted, shown if shown < size else None)
