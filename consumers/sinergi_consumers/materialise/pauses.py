"""When a topic-partition that stands still is looked at again, with growing pauses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.topics import TopicPartition

FIRST_SECONDS = 2.0
MOST_SECONDS = 300.0


class Pauses:
    """The pauses of the topic-partitions that do not go on, each twice as long as the one before.

    Args:
        clock: for durations.
        most: the longest pause, in seconds.
    """

    def __init__(self, clock: Clock, most: float = MOST_SECONDS) -> None:
        self._clock = clock
        self._most = most
        self._seconds: dict[TopicPartition, float] = {}
        self._due: dict[TopicPartition, float] = {}

    def begin(self, tp: TopicPartition) -> float:
        """Begin the next pause of a topic-partition; its length in seconds."""
        seconds = min(2 * self._seconds.get(tp, FIRST_SECONDS / 2), self._most)
        self._seconds[tp] = seconds
        self._due[tp] = self._clock.monotonic() + seconds
        return seconds

    def end(self) -> None:
        """End every pause now: what has changed may mend any of them."""
        self._due = dict.fromkeys(self._due, self._clock.monotonic())

    def over(self) -> list[TopicPartition]:
        """The topic-partitions whose pause has just ended; each is given out once."""
        now = self._clock.monotonic()
        found = [tp for tp, due in self._due.items() if due <= now]
        for tp in found:
            del self._due[tp]
        return found

    def forget(self, tp: TopicPartition) -> None:
        """A topic-partition goes on: its next pause is a first one."""
        self._seconds.pop(tp, None)
        self._due.pop(tp, None)
