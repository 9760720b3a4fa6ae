"""What a reader of a topic has skipped: messages that decide nothing, counted by their cause.

A message that is not one of the owner's cannot be taken from a topic that keeps everything. It is
passed over, and reported once for each cause with its first offset and the count.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_PLACES = 20
_MOST_CAUSES = 100
_FURTHER = "further causes"

ALTERED = "another leaf under an index that is sealed"
FOREIGN_CHECKPOINT = "a checkpoint that the owner did not sign"
OUTSIDE = "a leaf more than 5,000 ahead of the last checkpoint"
FALSE_FRONTIER = "a frontier that is not the one of its checkpoint"


@dataclass(slots=True)
class SkippedMessages:
    """The messages that were skipped for one cause.

    Attributes:
        count: how many.
        first, last: offsets of the first and of the latest one.
        places: offset and leaf index (if known) of the first twenty.
    """

    cause: str
    count: int = 0
    first: int = 0
    last: int = 0
    places: list[tuple[int, int | None]] = field(default_factory=list)

    def add(self, offset: int, index: int | None) -> None:
        """Count one more."""
        if not self.count:
            self.first = offset
        self.count += 1
        self.last = max(self.last, offset)
        if len(self.places) < MOST_PLACES:
            self.places.append((offset, index))


class Noise:
    """All that was skipped of one topic-partition, by cause, with bounded memory."""

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
        """What was skipped since the last call, which is then forgotten."""
        found, self._by_cause = self.skipped, {}
        return found

    @property
    def skipped(self) -> list[SkippedMessages]:
        """A list by cause, in the order in which the causes were met."""
        return list(self._by_cause.values())

    @property
    def count(self) -> int:
        """How many messages were skipped."""
        return sum(each.count for each in self._by_cause.values())
