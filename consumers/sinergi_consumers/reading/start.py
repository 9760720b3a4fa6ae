"""From where a topic-partition is read: where the position says, or where its next leaf is found.

The offset of a position is a cache. It does not hold on another cluster or in a topic made anew;
and where a log was cut, on disk or by the brokers' operator, and sent again, the leaf lies at
another offset of the same topic. So an offset that the log does not have leads to a search for the
leaf, and what does not bear out the place that reading began at is read again from the first
message before the leaf is said to be gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sinergi_consumers.reading.position import Position, TopicIncarnation
    from sinergi_schemas.kafka.scan import PartitionScan


class Start(NamedTuple):
    """From where a topic-partition is read.

    Attributes:
        offset: the first one that is read.
        low: the first one that the broker has.
        is_deleted: the broker has deleted the offset at which the next leaf was expected.
        shown: the leaves that the last messages show, where they are fewer than the position has.
    """

    offset: int
    low: int
    is_deleted: bool = False
    shown: int | None = None

    @property
    def is_first(self) -> bool:
        """Whether nothing that the broker has lies before it."""
        return self.offset <= self.low

    @property
    def first(self) -> Start:
        """The start with the first message that the broker has."""
        return self._replace(offset=self.low)


def find_start(scan: PartitionScan, position: Position, place: TopicIncarnation) -> Start:
    """Where to begin so that the leaf behind a position is met, if it is there.

    Raises:
        Unavailable: the broker is away.
    """
    low, high = scan.bounds()
    known = position.offset_at(place)
    if known is not None and low <= known <= high:
        return Start(known, low)
    is_deleted = known is not None and known < low
    size = position.frontier.size
    shown = scan.claimed_leaves() if size else 0  # a new reader cannot be shown less than it has
    return Start(scan.find(size), low, is_deleted, shown if shown < size else None)
