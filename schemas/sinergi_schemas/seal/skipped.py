"""The messages of a topic that a reader has skipped, counted by cause.

Nobody can remove a foreign message from a topic without retention and compaction. So readers skip
such messages, and report each cause once, with the first offset and the count.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_PLACES = 20
_MOST_CAUSES = 100
_FURTHER = "further causes"

ALTERED = "another leaf with the index of a sealed leaf"
FOREIGN_CHECKPOINT = "a checkpoint that the owner did not sign"
OUTSIDE = "a leaf index more than 5,000 above the last checkpoint"
FALSE_FRONTIER = "a frontier that does not match its checkpoint"


@dataclass(slots=True)
class SkippedMessages:
    """The messages that were skipped for one cause.

    Attributes:
        count: the number of messages.
        first: the offset of the first message.
        last: the highest offset.
        places: offset and leaf index (None if unknown) of the first twenty messages.
    """

    cause: str
    count: int = 0
    first: int = 0
    last: int = 0
    places: list[tuple[int, int | None]] = field(default_factory=list)

    def add(self, offset: int, index: int | None) -> None:
        """Count one more message."""
        if not self.count:
            self.first = offset
        self.count += 1
        self.last = max(self.last, offset)
        if len(self.places) < MOST_PLACES:
            self.places.append((offset, index))


class SkippedByCause:
    """The skipped messages of one topic-partition by cause, in limited memory."""

    def __init__(self) -> None:
        self._by_cause: dict[str, SkippedMessages] = {}

    def add(self, cause: str, offset: int, index: int | None = None) -> None:
        """Count a skipped message."""
        if cause not in self._by_cause and len(self._by_cause) >= _MOST_CAUSES:
            cause = _FURTHER
        if cause not in self._by_cause:
            self._by_cause[cause] = SkippedMessages(cause)
        self._by_cause[cause].add(offset, index)

    def drain(self) -> list[SkippedMessages]:
        """Return what was skipped since the last call, and reset the counts."""
        found, self._by_cause = self.causes, {}
        return found

    @property
    def causes(self) -> list[SkippedMessages]:
        """The skipped messages, one entry for each cause, in the order of the first occurrence."""
        return list(self._by_cause.values())

    @property
    def count(self) -> int:
        """The number of skipped messages."""
        return sum(each.count for each in self._by_cause.values())
