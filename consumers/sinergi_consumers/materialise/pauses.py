"""Growing pauses, after which a topic-partition that was stopped is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from sinergi_schemas.clock import Clock
    from sinergi_schemas.topics import TopicPartition


class Pauses:
    """The pauses of topic-partitions that were stopped, each twice as long as the one before.

    Args:
        clock: for durations.
        first: the first pause, in seconds.
        most: the longest pause, in seconds.
    """

    def __init__(self, clock: Clock, first: float, most: float) -> None:
        self._clock = clock
        self._first = first
        self._most = most
        self._seconds: dict[TopicPartition, float] = {}
        self._due: dict[TopicPartition, float] = {}

    @property
    def begun(self) -> AbstractSet[TopicPartition]:
        """The topic-partitions that were stopped and are not forgotten."""
        return self._seconds.keys()

    def begin(self, tp: TopicPartition) -> float:
        """Begin the next pause of a topic-partition, and return its length in seconds."""
        seconds = min(2 * self._seconds.get(tp, self._first / 2), self._most)
        self._seconds[tp] = seconds
        self._due[tp] = self._clock.monotonic() + seconds
        return seconds

    def end_all(self) -> None:
        """End every pause now, since a change may have mended any cause."""
        self._due = dict.fromkeys(self._due, self._clock.monotonic())

    def over(self) -> list[TopicPartition]:
        """The topic-partitions whose pause has ended since the last call."""
        now = self._clock.monotonic()
        found = [tp for tp, due in self._due.items() if due <= now]
        for tp in found:
            del self._due[tp]
        return found

    def forget(self, tp: TopicPartition) -> None:
        """Forget a topic-partition that goes on: its next pause is a short one again."""
        self._seconds.pop(tp, None)
        self._due.pop(tp, None)
