"""The halted topic-partitions of a worker: when each is tried again, and its row in the database.

A topic-partition is halted if its messages are not what its owner sealed. `begin` halts it. Its row
is written by `record`, and deleted by `clear` once it was read on without a fault. Where the
database is unavailable, the row waits for a later round.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from sinergi_consumers.materialise.pauses import Pauses

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from sinergi_consumers.sinks.protocol import Sink
    from sinergi_schemas import errors
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.topics import TopicPartition

_log = structlog.get_logger(__name__)


class Halts:
    """The halts of one worker.

    Args:
        sink: where they are recorded.
        first, most: the first and the longest pause before a topic-partition is tried again, in
            seconds.
    """

    def __init__(self, sink: Sink, clock: Clock, first: float, most: float) -> None:
        self.pauses = Pauses(clock, first, most)
        self._sink = sink
        self._clock = clock
        self._unrecorded: dict[TopicPartition, tuple[errors.TopicHalted, float]] = {}
        self._uncleared: set[TopicPartition] = set()

    def begin(self, tp: TopicPartition, why: errors.TopicHalted) -> None:
        """Halt a topic-partition until its pause is over."""
        seconds = self.pauses.begin(tp)
        halted = {**tp._asdict(), "why": str(why), "next_look_seconds": seconds}
        _log.error("topic-partition halted", **halted)
        self._unrecorded[tp] = why, seconds

    def end(self, tp: TopicPartition) -> None:
        """A topic-partition was read on, or to its end, without a fault."""
        self._uncleared.add(tp)

    def record(self) -> None:
        """Write the rows of those that are halted.

        Raises:
            Unavailable: the database is away; the next call tries again.
        """
        for tp, (why, seconds) in [*self._unrecorded.items()]:
            self._sink.record_halt(tp, why, self._clock.now() + timedelta(seconds=seconds))
            del self._unrecorded[tp]

    def clear(self, claimed: AbstractSet[TopicPartition]) -> None:
        """Delete the rows of those that were read on, as far as this worker still has them.

        Raises:
            Unavailable: as `record`.
        """
        self._uncleared &= claimed
        if self._uncleared:
            self._sink.clear_halts(self._uncleared)
            for tp in self._uncleared:
                self.pauses.forget(tp)
            self._uncleared.clear()
